<#
.SYNOPSIS
    Gets a short-lived VPN certificate from Evertunnel into the user's store, and renews it. Made by Evertunnel.

.DESCRIPTION
    The key is made in the TPM and never leaves it. The device proves itself by signing the server's nonce, the user's
    name and the request with the key of its device certificate; the user signs in, with the code of an authenticator
    app where the user has one; conditional access decides.

    An administrator runs it once with -Install: it lays itself below ProgramData where only administrators may write,
    and registers a task that runs as the signed-in user at logon, when the network changes and every five minutes; a
    run does nothing before two thirds of the certificate's life are over. No secret is in this script.

    The device key belongs to the machine. So that a task of the user can sign with it, -Install lets signed-in users
    use it (not copy it, if it is marked as not exportable): it then proves that the request comes from this device.

    Needs Windows PowerShell 5.1 and .NET Framework 4.7.2 (Windows 10 1803). The root of the server must be trusted by
    the machine. From documentation only: never run on Windows. Checked by an independent parser.

    Exit codes: 0 there is a good certificate. 1 the parameters or rights are wrong. 2 refused by the server.
    3 no usable TPM. 4 failed. 5 the person did not sign in, or a refusal is too fresh to ask again.

.PARAMETER Install
    Install the script and its task; needs administrator rights.
.PARAMETER Remove
    Remove the task and the script, or without administrator rights this user's certificates and remembered password.
.PARAMETER Renew
    As the task does: keep quiet while the certificate is young, or after the person or the server said no.
.PARAMETER Remember
    Keep the password, encrypted for this user on this machine (DPAPI). Whoever runs code as this user can read it.
.PARAMETER Forget
    Forget the remembered password.
.PARAMETER AllowSoftwareKey
    Accept a key outside of a TPM where there is none.
.PARAMETER UserName
    Who signs in; asked for when it is not remembered.
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [switch] $Install,
    [switch] $Remove,
    [switch] $Renew,
    [switch] $Remember,
    [switch] $Forget,
    [switch] $AllowSoftwareKey,
    [string] $UserName = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# All that is particular to one profile, as data: base64 of JSON. The rest of this script is the same for every profile.
$Payload = '@PAYLOAD@'
$Settings = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Payload)) | ConvertFrom-Json
$Server = ([string] $Settings.server_url).TrimEnd('/')
$Usage = '1.3.6.1.4.1.311.87'
$ClientAuthentication = '1.3.6.1.5.5.7.3.2'
$Mark = 'Evertunnel short-lived'
$TaskName = 'Evertunnel certificate'
$StateKey = 'Software\Evertunnel\Certificate'
$Folder = Join-Path ([Environment]::GetFolderPath('CommonApplicationData')) 'Evertunnel'
$WindowsPowerShell = Join-Path ([Environment]::GetFolderPath('System')) 'WindowsPowerShell\v1.0\powershell.exe'

function Get-DeviceCertificate {
    # By its name, the newest that is good now. The server knows it by its fingerprint and asks for nothing else.
    $wanted = @([string] $Settings.device_name)
    if (-not $wanted[0]) {
        $network = [Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties()
        $wanted = @($env:COMPUTERNAME, $network.HostName, "$($network.HostName).$($network.DomainName)")
    }
    $now = Get-Date
    $found = Get-ChildItem -Path 'Cert:\LocalMachine\My' | Where-Object {
        $names = @($_.GetNameInfo('SimpleName', $false)) + @($_.DnsNameList | ForEach-Object { $_.Unicode })
        $usages = @($_.EnhancedKeyUsageList | ForEach-Object { $_.ObjectId })
        $_.HasPrivateKey -and $_.NotBefore -le $now -and $_.NotAfter -gt $now -and
            $usages -contains $ClientAuthentication -and $usages -notcontains $Usage -and
            @($names | Where-Object { $wanted -contains $_ }).Count -gt 0
    } | Sort-Object -Property NotAfter -Descending | Select-Object -First 1
    if ($null -eq $found) { throw "no device certificate for $($wanted -join ' or ') in the machine's store" }
    return $found
}

function Get-DeviceKey($Certificate) {
    $key = [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($Certificate)
    if ($null -eq $key) {
        $key = [Security.Cryptography.X509Certificates.RSACertificateExtensions]::GetRSAPrivateKey($Certificate)
    }
    if ($null -eq $key) { throw 'the key of the device certificate is neither ECDSA nor RSA' }
    return $key
}

function Get-OwnCertificate {
    # Ours only: certificates of the same usage that Entra issued have another friendly name.
    Get-ChildItem -Path 'Cert:\CurrentUser\My' | Where-Object {
        $_.FriendlyName -eq $Mark -and @($_.EnhancedKeyUsageList | ForEach-Object { $_.ObjectId }) -contains $Usage
    }
}

function Remove-OwnCertificate($Certificate) {
    try {
        $key = [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($Certificate)
        if ($null -ne $key) { $key.Key.Delete() }
    } catch { Write-Host "The key of an ended certificate was not deleted: $($_.Exception.Message)" }
    Remove-Item -LiteralPath $Certificate.PSPath
}

function Test-Young {
    $now = Get-Date
    $young = @(Get-OwnCertificate | Where-Object {
        $life = ($_.NotAfter - $_.NotBefore).TotalSeconds
        $_.HasPrivateKey -and $_.NotBefore -le $now -and $now -lt $_.NotBefore.AddSeconds($life * 2 / 3)
    })
    return $young.Count -gt 0
}

function Get-LengthAndPart([byte[]] $Part) {
    $length = [BitConverter]::GetBytes([uint32] $Part.Length)
    if ([BitConverter]::IsLittleEndian) { [Array]::Reverse($length) }
    return [byte[]] ($length + $Part)
}

function Get-DerInteger([byte[]] $Number) {
    $start = 0
    while ($start -lt $Number.Length - 1 -and $Number[$start] -eq 0) { $start++ }
    $digits = [byte[]] $Number[$start..($Number.Length - 1)]
    if ($digits[0] -ge 128) { $digits = [byte[]] (@([byte] 0) + $digits) }
    return [byte[]] (@([byte] 2, [byte] $digits.Length) + $digits)
}

function Get-Signature($Key, [byte[]] $Text) {
    $sha256 = [Security.Cryptography.HashAlgorithmName]::SHA256
    if ($Key -is [Security.Cryptography.RSA]) {
        return $Key.SignData($Text, $sha256, [Security.Cryptography.RSASignaturePadding]::Pkcs1)
    }
    # .NET gives r and s side by side, the server reads X9.62: a SEQUENCE of two INTEGERs.
    $flat = [byte[]] $Key.SignData($Text, $sha256)
    $half = [int] ($flat.Length / 2)
    $body = [byte[]] ((Get-DerInteger $flat[0..($half - 1)]) + (Get-DerInteger $flat[$half..($flat.Length - 1)]))
    $length = if ($body.Length -ge 128) { @([byte] 129, [byte] $body.Length) } else { @([byte] $body.Length) }
    return [byte[]] (@([byte] 48) + $length + $body)
}

function New-Key {
    # A name of its own each time: the old key serves the old certificate until the new one is in place.
    $parameters = New-Object Security.Cryptography.CngKeyCreationParameters
    $parameters.ExportPolicy = [Security.Cryptography.CngExportPolicies]::None
    $parameters.KeyUsage = [Security.Cryptography.CngKeyUsages]::Signing
    $parameters.Provider = New-Object Security.Cryptography.CngProvider 'Microsoft Platform Crypto Provider'
    $algorithm = [Security.Cryptography.CngAlgorithm]::ECDsaP256
    $name = 'Evertunnel-' + [Guid]::NewGuid().ToString()
    try {
        $key = [Security.Cryptography.CngKey]::Create($algorithm, $name, $parameters)
    } catch {
        if (-not $AllowSoftwareKey) {
            Write-Host "No key can be made in a TPM: $($_.Exception.Message). -AllowSoftwareKey allows another."
            exit 3
        }
        $parameters.Provider = [Security.Cryptography.CngProvider]::MicrosoftSoftwareKeyStorageProvider
        $key = [Security.Cryptography.CngKey]::Create($algorithm, $name, $parameters)
    }
    return New-Object Security.Cryptography.ECDsaCng $key
}

function Send-Request([string] $Path, $Body) {
    $text = if ($null -eq $Body) { '' } else { $Body | ConvertTo-Json -Compress }
    # No redirection: the password goes to the server that was named, over TLS that Windows verified.
    Invoke-RestMethod -Method Post -Uri ($Server + $Path) -Body ([Text.Encoding]::UTF8.GetBytes($text)) `
        -ContentType 'application/json; charset=utf-8' -TimeoutSec 30 -MaximumRedirection 0
}

function Get-SignIn($State) {
    $user = $UserName
    if (-not $user) { $user = [string] $State.GetValue('UserName', '') }
    $kept = [string] $State.GetValue('Password', '')
    if ($user -and $kept -and -not $Remember) {
        try {
            return New-Object Management.Automation.PSCredential($user, (ConvertTo-SecureString -String $kept))
        } catch {
            $State.DeleteValue('Password', $false)
        }
    }
    return $Host.UI.PromptForCredential('Evertunnel', "Sign in to $Server for the VPN.", $user, '')
}

function Suspend-Asking($State, [int] $Minutes) {
    $State.SetValue('QuietUntil', [DateTime]::UtcNow.AddMinutes($Minutes).ToString('o'))
}

function Add-ToStore([string] $Store, $Certificates) {
    $opened = New-Object Security.Cryptography.X509Certificates.X509Store($Store, 'CurrentUser')
    $opened.Open('ReadWrite')
    foreach ($certificate in $Certificates) { $opened.Add($certificate) }
    $opened.Close()
}

function Install-Answer($Answer, $Key) {
    $bytes = [Convert]::FromBase64String([string] $Answer.certificate)
    $certificate = New-Object Security.Cryptography.X509Certificates.X509Certificate2 (, $bytes)
    # The point of the certificate must be the one of the key made here: 4, then x and y.
    $blob = $Key.Key.Export([Security.Cryptography.CngKeyBlobFormat]::EccPublicBlob)
    $point = [byte[]] (@([byte] 4) + $blob[8..($blob.Length - 1)])
    $issued = $certificate.PublicKey.EncodedKeyValue.RawData
    if ([BitConverter]::ToString($issued) -cne [BitConverter]::ToString($point)) {
        throw 'the server sent a certificate for another key'
    }
    $own = [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::CopyWithPrivateKey($certificate, $Key)
    $own.FriendlyName = $Mark
    $before = @(Get-OwnCertificate)
    # EAP sends the authorities below the root along, and filters by their hashes.
    Add-ToStore 'CA' @($Answer.chain | ForEach-Object {
        New-Object Security.Cryptography.X509Certificates.X509Certificate2 (, [Convert]::FromBase64String([string] $_))
    })
    Add-ToStore 'My' @($own)
    # What ended, and what this one takes the place of: Windows picks any that fits.
    foreach ($old in $before) { Remove-OwnCertificate $old }
    Write-Host "A certificate is in place until $($own.NotAfter)."
}

function Get-Status($Failure) {
    if ($null -ne $Failure.Response) { return [int] $Failure.Response.StatusCode }
    return 0
}

function Get-Code([string] $User) {
    # In the dialogue of a sign-in: a task has no window to ask in.
    $text = 'Give the code of your authenticator app in place of the password.'
    $typed = $Host.UI.PromptForCredential('Evertunnel', $text, $User, '')
    if ($null -eq $typed) { return '' }
    return $typed.GetNetworkCredential().Password
}

function Request-Certificate($Device, $DeviceKey, [string] $User, $Credential, [byte[]] $Csr, [string] $Code) {
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash($Csr)
    $nonce = [Convert]::FromBase64String([string] (Send-Request '/v1/nonces' $null).nonce)
    $purpose = [Text.Encoding]::ASCII.GetBytes('evertunnel short-lived certificate request 1')
    $who = [Text.Encoding]::UTF8.GetBytes($User)
    $signed = [byte[]] ((Get-LengthAndPart $purpose) + (Get-LengthAndPart $nonce) + (Get-LengthAndPart $who) +
        (Get-LengthAndPart $hash))
    $body = @{
        user = $User
        password = $Credential.GetNetworkCredential().Password
        csr = [Convert]::ToBase64String($Csr)
        device_certificate = [Convert]::ToBase64String($Device.RawData)
        device_signature = [Convert]::ToBase64String([byte[]] (Get-Signature $DeviceKey $signed))
        nonce = [Convert]::ToBase64String($nonce)
    }
    if ($Code) { $body.code = $Code }
    return Send-Request '/v1/short-lived-certificates' $body
}

function Get-Certificate($State) {
    [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
    $device = Get-DeviceCertificate
    $deviceKey = Get-DeviceKey $device
    $credential = Get-SignIn $State
    if ($null -eq $credential) {
        Suspend-Asking $State 30
        Write-Host 'Nobody signed in.'
        exit 5
    }
    $user = $credential.UserName.TrimStart('\')
    $key = New-Key
    $done = $false
    try {
        $sha256 = [Security.Cryptography.HashAlgorithmName]::SHA256
        # The server takes the public key and nothing else from a request.
        $request = New-Object Security.Cryptography.X509Certificates.CertificateRequest('CN=evertunnel', $key, $sha256)
        $csr = [byte[]] $request.CreateSigningRequest()
        try {
            $answer = Request-Certificate $device $deviceKey $user $credential $csr ''
        } catch [Net.WebException] {
            # 401: the password was right, and the user has an authenticator app.
            if ((Get-Status $_.Exception) -ne 401) { throw }
            $code = Get-Code $user
            if (-not $code) {
                Suspend-Asking $State 30
                Write-Host 'Nobody gave the code.'
                exit 5
            }
            $answer = Request-Certificate $device $deviceKey $user $credential $csr $code
        }
        Install-Answer $answer $key
        $done = $true
    } catch [Net.WebException] {
        $status = Get-Status $_.Exception
        Write-Host "The server did not issue a certificate (${status}): $($_.Exception.Message) $($_.ErrorDetails)"
        if ($status -eq 403) {
            # Wrong password or a policy, the server does not say which: do not knock until the account is locked.
            Suspend-Asking $State 15
            exit 2
        }
        exit 4
    } finally {
        if (-not $done) { $key.Key.Delete() }
    }
    $State.SetValue('UserName', $user)
    $State.DeleteValue('QuietUntil', $false)
    if ($Remember) { $State.SetValue('Password', (ConvertFrom-SecureString -SecureString $credential.Password)) }
}

function Test-Administrator {
    $identity = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    return $identity.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function New-TrustedFolder([string] $Path) {
    # Anybody may make folders below ProgramData before us. Users may read and run what lies here, and change nothing.
    $rules = New-Object Security.AccessControl.DirectorySecurity
    $rules.SetAccessRuleProtection($true, $false)
    $rules.SetOwner((New-Object Security.Principal.SecurityIdentifier 'S-1-5-32-544'))
    $rights = @{ 'S-1-5-18' = 'FullControl'; 'S-1-5-32-544' = 'FullControl'; 'S-1-5-32-545' = 'ReadAndExecute' }
    foreach ($sid in $rights.Keys) {
        $who = New-Object Security.Principal.SecurityIdentifier $sid
        $values = @($who, $rights[$sid], 'ContainerInherit, ObjectInherit', 'None', 'Allow')
        $rules.AddAccessRule((New-Object Security.AccessControl.FileSystemAccessRule $values))
    }
    if (-not [IO.Directory]::Exists($Path)) { [void] [IO.Directory]::CreateDirectory($Path, $rules) }
    $item = Get-Item -LiteralPath $Path -Force
    $owner = $item.GetAccessControl().GetOwner([Security.Principal.SecurityIdentifier]).Value
    if ($owner -notin 'S-1-5-18', 'S-1-5-32-544' -or $item.Attributes -band [IO.FileAttributes]::ReparsePoint) {
        throw "$Path does not belong to the administrators, or is a link; remove it"
    }
    $item.SetAccessControl($rules)
}

function Set-DeviceKeyAccess([bool] $Allowed) {
    # Whether whoever is signed in at this device may use the key: read, which for a key means to sign with it.
    $key = (Get-DeviceKey (Get-DeviceCertificate)).Key
    $security = New-Object Security.AccessControl.CommonSecurityDescriptor($false, $false,
        [byte[]] $key.GetProperty('Security Descr', [Security.Cryptography.CngPropertyOptions] 4).GetValue(), 0)
    $interactive = New-Object Security.Principal.SecurityIdentifier 'S-1-5-4'
    if ($Allowed) {
        $security.DiscretionaryAcl.AddAccess('Allow', $interactive, 0x00120089, 'None', 'None')
    } else {
        [void] $security.DiscretionaryAcl.RemoveAccess('Allow', $interactive, 0x00120089, 'None', 'None')
    }
    $bytes = New-Object byte[] $security.BinaryLength
    $security.GetBinaryForm($bytes, 0)
    $options = [Security.Cryptography.CngPropertyOptions] 4
    $key.SetProperty((New-Object Security.Cryptography.CngProperty('Security Descr', $bytes, $options)))
}

function Install-Task([string] $Code) {
    $place = Join-Path $Folder 'Certificate'
    New-TrustedFolder $Folder
    New-TrustedFolder $place
    # What runs now is what is installed, not what may lie at its path by now. A file that was there loses its rights.
    $file = Join-Path $place 'get_certificate.ps1'
    if ([IO.File]::Exists($file)) { [IO.File]::Delete($file) }
    [IO.File]::WriteAllText($file, $Code, [Text.Encoding]::ASCII)
    Set-DeviceKeyAccess $true
    $arguments = "-NoProfile -WindowStyle Hidden -ExecutionPolicy Bypass -File `"$file`" -Renew"
    if ($AllowSoftwareKey) { $arguments += ' -AllowSoftwareKey' }
    $sid = New-Object Security.Principal.SecurityIdentifier 'S-1-5-32-545'
    $users = $sid.Translate([Security.Principal.NTAccount]).Value
    $class = Get-CimClass -Namespace 'Root/Microsoft/Windows/TaskScheduler' -ClassName 'MSFT_TaskEventTrigger'
    $network = New-CimInstance -CimClass $class -ClientOnly
    $network.Enabled = $true
    $network.Subscription = '<QueryList><Query Id="0" Path="Microsoft-Windows-NetworkProfile/Operational"><Select ' +
        'Path="Microsoft-Windows-NetworkProfile/Operational">*[System[EventID=10000]]</Select></Query></QueryList>'
    $triggers = @(
        (New-ScheduledTaskTrigger -AtLogOn),
        (New-ScheduledTaskTrigger -Once -At (Get-Date) -RepetitionInterval (New-TimeSpan -Minutes 5)),
        $network
    )
    $limits = @{
        AllowStartIfOnBatteries = $true; DontStopIfGoingOnBatteries = $true; StartWhenAvailable = $true
        MultipleInstances = 'IgnoreNew'; ExecutionTimeLimit = New-TimeSpan -Minutes 10
    }
    $task = @{
        TaskName = $TaskName
        Action = New-ScheduledTaskAction -Execute $WindowsPowerShell -Argument $arguments
        Trigger = $triggers
        Principal = New-ScheduledTaskPrincipal -GroupId $users -RunLevel Limited
        Settings = New-ScheduledTaskSettingsSet @limits
    }
    [void] (Register-ScheduledTask @task -Force)
    Write-Host "Installed $file and the task $TaskName."
}

try {
    if (-not $Server.StartsWith('https://', [StringComparison]::OrdinalIgnoreCase)) {
        Write-Host 'The server must be named with https://: a password goes to nothing else.'
        exit 1
    }
    if ($Install) {
        if (-not (Test-Administrator)) { Write-Host '-Install needs administrator rights.'; exit 1 }
        $action = 'Install the script, let signed-in users sign with the device key, register the task'
        if ($PSCmdlet.ShouldProcess($TaskName, $action)) {
            Install-Task $MyInvocation.MyCommand.ScriptBlock.ToString()
        }
        exit 0
    }
    if ($Remove) {
        if (-not $PSCmdlet.ShouldProcess($TaskName, 'Remove what this script installed')) { exit 0 }
        if (Test-Administrator) {
            Unregister-ScheduledTask -TaskName $TaskName -Confirm:$false -ErrorAction SilentlyContinue
            $file = Join-Path $Folder 'Certificate\get_certificate.ps1'
            if ([IO.File]::Exists($file)) { [IO.File]::Delete($file) }
            try { Set-DeviceKeyAccess $false } catch {
                Write-Host "The device key was left as it is: $($_.Exception.Message)"
            }
        }
        foreach ($certificate in @(Get-OwnCertificate)) { Remove-OwnCertificate $certificate }
        [Microsoft.Win32.Registry]::CurrentUser.DeleteSubKeyTree($StateKey, $false)
        exit 0
    }
    $state = [Microsoft.Win32.Registry]::CurrentUser.CreateSubKey($StateKey)
    if ($Forget) { $state.DeleteValue('Password', $false); exit 0 }
    $now = Get-Date
    foreach ($ended in @(Get-OwnCertificate | Where-Object { $_.NotAfter -lt $now })) { Remove-OwnCertificate $ended }
    if ($Renew) {
        if (Test-Young) { exit 0 }
        $quiet = [string] $state.GetValue('QuietUntil', '')
        $invariant = [Globalization.CultureInfo]::InvariantCulture
        if ($quiet -and [DateTime]::Parse($quiet, $invariant, 'RoundtripKind') -gt [DateTime]::UtcNow) { exit 5 }
    }
    if ($PSCmdlet.ShouldProcess($Server, 'Ask for a short-lived certificate')) { Get-Certificate $state }
    exit 0
} catch {
    Write-Host "Failed: $($_.Exception.Message)"
    exit 4
}
