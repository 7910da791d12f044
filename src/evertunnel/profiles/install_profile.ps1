<#
.SYNOPSIS
    Installs, updates, checks or removes one Always On VPN profile. Made by Evertunnel.

.DESCRIPTION
    Runs as SYSTEM (Intune, a scheduled task, psexec -s) in Windows PowerShell 5.1. It writes through the MDM bridge
    (root\cimv2\mdm\dmmap, MDM_VPNv2_01); a user tunnel becomes a profile of all users unless -UserSid names one.
    Nothing is done when the same version of the same document is in place. An update is a removal and a creation.

    From documentation only: never run on Windows. Checked by an independent parser.

    Exit codes: 0 in place, or done (with -Remove: gone). 1 not in place (-Detect only). 2 not run as SYSTEM, or wrong
    parameters. 3 postponed, the tunnel is connected. 4 failed. 5 in place, but a setting was not taken.

.PARAMETER Detect
    Change nothing; exit 0 when the profile is in place, 1 when it is not: Intune's detection script.
.PARAMETER Remove
    Remove the profile and all it left behind.
.PARAMETER Force
    Write the profile again although it is in place.
.PARAMETER Postpone
    Leave a connected tunnel alone and exit with 3, where otherwise it is disconnected for the update.
.PARAMETER UserSid
    Make a user tunnel in the phonebook of this user, who must be signed in.
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [switch] $Detect,
    [switch] $Remove,
    [switch] $Force,
    [switch] $Postpone,
    [string] $UserSid = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# All that is particular to one profile, as data: base64 of JSON. The rest of this script is the same for every profile.
$Payload = '@PAYLOAD@'
$Settings = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Payload)) | ConvertFrom-Json
$Name = [string] $Settings.name
$IsDevice = [string] $Settings.tunnel -eq 'device'

$Namespace = 'root\cimv2\mdm\dmmap'
$ClassName = 'MDM_VPNv2_01'
$ParentId = './Vendor/MSFT/VPNv2'
$ProgramData = [Environment]::GetFolderPath('CommonApplicationData')
$RasMan = 'SYSTEM\CurrentControlSet\Services\RasMan'
$LogFile = $null

# Intune's agent is a 32-bit process, which sees another registry.
if ([Environment]::Is64BitOperatingSystem -and -not [Environment]::Is64BitProcess) {
    $again = @('-NoProfile', '-ExecutionPolicy', 'Bypass', '-File', $PSCommandPath)
    foreach ($flag in 'Detect', 'Remove', 'Force', 'Postpone', 'WhatIf') {
        if ($PSBoundParameters.ContainsKey($flag) -and $PSBoundParameters[$flag]) { $again += "-$flag" }
    }
    if ($UserSid -match '^S-1-[0-9-]+$') { $again += @('-UserSid', $UserSid) }
    & (Join-Path $env:SystemRoot 'SysNative\WindowsPowerShell\v1.0\powershell.exe') $again
    exit $LASTEXITCODE
}

$Machine = [Microsoft.Win32.Registry]::LocalMachine
$Record = "SOFTWARE\Evertunnel\Profiles\$Name"
if ($UserSid) { $Record = "$Record\$UserSid" }

function Write-Log([string] $Text) {
    Write-Host $Text
    if ($LogFile -and -not $WhatIfPreference) {
        $when = [DateTime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ')
        [IO.File]::AppendAllText($LogFile, "$when $Text`r`n", (New-Object Text.UTF8Encoding $false))
    }
}

function Test-Trusted([string] $Path) {
    # Anybody may make files below ProgramData before us, links among them: only what administrators own is used.
    $item = Get-Item -LiteralPath $Path -Force
    $owner = $item.GetAccessControl().GetOwner([Security.Principal.SecurityIdentifier]).Value
    return ($owner -in 'S-1-5-18', 'S-1-5-32-544') -and -not ($item.Attributes -band [IO.FileAttributes]::ReparsePoint)
}

function Open-Log {
    $rules = New-Object Security.AccessControl.DirectorySecurity
    $rules.SetAccessRuleProtection($true, $false)
    $rules.SetOwner((New-Object Security.Principal.SecurityIdentifier 'S-1-5-32-544'))
    $rights = @{ 'S-1-5-18' = 'FullControl'; 'S-1-5-32-544' = 'FullControl'; 'S-1-5-32-545' = 'ReadAndExecute' }
    foreach ($sid in $rights.Keys) {
        $who = New-Object Security.Principal.SecurityIdentifier $sid
        $values = @($who, $rights[$sid], 'ContainerInherit, ObjectInherit', 'None', 'Allow')
        $rules.AddAccessRule((New-Object Security.AccessControl.FileSystemAccessRule $values))
    }
    foreach ($folder in (Join-Path $ProgramData 'Evertunnel'), (Join-Path $ProgramData 'Evertunnel\Logs')) {
        if (-not [IO.Directory]::Exists($folder)) { [void] [IO.Directory]::CreateDirectory($folder, $rules) }
        if (-not (Test-Trusted $folder)) {
            Write-Host "No log is written: $folder does not belong to the administrators, or is a link."
            return $null
        }
        (Get-Item -LiteralPath $folder -Force).SetAccessControl($rules)
    }
    $file = Join-Path $ProgramData 'Evertunnel\Logs\profiles.log'
    if ([IO.File]::Exists($file)) {
        if (-not (Test-Trusted $file)) { return $null }
        if ((New-Object IO.FileInfo $file).Length -gt 1000000) { [IO.File]::Delete($file) }
    }
    return $file
}

function New-Options([string] $Sid) {
    $options = New-Object Microsoft.Management.Infrastructure.Options.CimOperationOptions
    if ($Sid) {
        $options.SetCustomOption('PolicyPlatformContext_PrincipalContext_Type', 'PolicyPlatform_UserContext', $false)
        $options.SetCustomOption('PolicyPlatformContext_PrincipalContext_Id', $Sid, $false)
    }
    return $options
}

function Get-Instance($Options) {
    # Compared unescaped: an old version may have been written with another escaping or case.
    $Session.EnumerateInstances($Namespace, $ClassName, $Options) |
        Where-Object { [Uri]::UnescapeDataString([string] $_.InstanceID) -eq $Name }
}

function Get-Connection {
    # A user's own phonebook is not visible to SYSTEM.
    if (-not $UserSid) { Get-VpnConnection -Name $Name -AllUserConnection -ErrorAction SilentlyContinue }
}

function Test-Present {
    try {
        return @(Get-Instance (New-Options $UserSid)).Count -eq 1
    } catch {
        Write-Log "The MDM bridge does not list profiles ($($_.Exception.Message)); the phonebook is asked."
        return $null -ne (Get-Connection)
    }
}

function Test-Record([string[]] $Values) {
    $key = $Machine.OpenSubKey($Record)
    if ($null -eq $key) { return $false }
    $different = @($Values | Where-Object { [string] $key.GetValue($_) -cne [string] $Settings.$_ })
    $key.Close()
    return $different.Count -eq 0
}

function Set-Record([string[]] $Values) {
    $key = $Machine.CreateSubKey($Record)
    foreach ($value in $Values) { $key.SetValue($value, [string] $Settings.$value) }
    $key.Close()
}

function Test-InPlace {
    return (Test-Record 'hash', 'version') -and (Test-Present)
}

function Disconnect-Tunnel {
    $connection = Get-Connection
    if ($null -eq $connection -or [string] $connection.ConnectionStatus -ne 'Connected') { return }
    # PowerShell 5.1 passes a quote inside an argument on as it is, and one argument would become several.
    if ($Postpone -or $Name.Contains('"')) {
        Write-Log "$Name is connected: postponed."
        exit 3
    }
    & (Join-Path $env:SystemRoot 'System32\rasdial.exe') $Name /disconnect | Out-Null
    Write-Log "$Name was disconnected."
}

function Remove-PhonebookEntry([string] $Path) {
    if (-not [IO.File]::Exists($Path)) { return }
    # Latin-1 keeps every byte of a file whose encoding is not documented; the name is looked for in both.
    $latin = [Text.Encoding]::GetEncoding(28591)
    $heads = @([Text.Encoding]::UTF8, [Text.Encoding]::Default) |
        ForEach-Object { '[' + $latin.GetString($_.GetBytes($Name)) + ']' }
    $kept = New-Object Collections.Generic.List[string]
    $skipping = $false
    $found = $false
    foreach ($line in [regex]::Split($latin.GetString([IO.File]::ReadAllBytes($Path)), '\r?\n')) {
        if ($line.StartsWith('[')) { $skipping = $heads -contains $line.TrimEnd() }
        if ($skipping) { $found = $true } else { $kept.Add($line) }
    }
    if ($found) {
        [IO.File]::WriteAllBytes($Path, $latin.GetBytes([string]::Join("`r`n", $kept)))
        Write-Log "Removed the entry from $Path."
    }
}

function Clear-Tracked([string] $Path) {
    $key = $Machine.OpenSubKey($Path, $true)
    if ($null -eq $key) { return }
    $removed = 0
    foreach ($value in $key.GetValueNames()) {
        $text = [Uri]::UnescapeDataString([string] $key.GetValue($value))
        if ($value -match '^Path\d+$' -and $text.EndsWith("/VPNv2/$Name", [StringComparison]::OrdinalIgnoreCase)) {
            $key.DeleteValue($value)
            $removed++
        }
    }
    if ($removed -gt 0 -and $null -ne $key.GetValue('Count')) {
        $left = [Math]::Max(0, [int] $key.GetValue('Count') - $removed)
        $key.SetValue('Count', $left, [Microsoft.Win32.RegistryValueKind]::DWord)
    }
    foreach ($child in $key.GetSubKeyNames()) { Clear-Tracked "$Path\$child" }
    $key.Close()
}

function Clear-Registry {
    Clear-Tracked 'SOFTWARE\Microsoft\EnterpriseResourceManager\Tracked'
    $networks = $Machine.OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion\NetworkList\Profiles', $true)
    if ($null -ne $networks) {
        foreach ($id in $networks.GetSubKeyNames()) {
            $network = $networks.OpenSubKey($id)
            $isOurs = [string] $network.GetValue('Description') -eq $Name
            $network.Close()
            if ($isOurs) { $networks.DeleteSubKeyTree($id) }
        }
        $networks.Close()
    }
    $config = $Machine.OpenSubKey("$RasMan\Config", $true)
    if ($null -ne $config) {
        $disabled = @($config.GetValue('AutoTriggerDisabledProfilesList', @()))
        $others = [string[]] @($disabled | Where-Object { $_ -ne $Name })
        if ($others.Count -ne $disabled.Count) {
            $kind = [Microsoft.Win32.RegistryValueKind]::MultiString
            $config.SetValue('AutoTriggerDisabledProfilesList', $others, $kind)
        }
        if ([string] $config.GetValue('AutoTriggerProfileEntryName') -eq $Name) {
            foreach ($value in 'EntryName', 'PhonebookPath', 'GUID') {
                $config.DeleteValue("AutoTriggerProfile$value", $false)
            }
        }
        $config.Close()
    }
    $device = $Machine.OpenSubKey("$RasMan\DeviceTunnel")
    if ($null -ne $device) {
        $isOurs = [string] $device.GetValue('AutoTriggerProfileEntryName') -eq $Name
        $device.Close()
        if ($IsDevice -or $isOurs) { $Machine.DeleteSubKeyTree("$RasMan\DeviceTunnel", $false) }
    }
}

function Remove-Profile {
    Disconnect-Tunnel
    # Phonebooks of other users lie in folders they may fill with links: SYSTEM reaches them through the bridge only.
    $sids = @($UserSid)
    if (-not $UserSid) {
        $loaded = [Microsoft.Win32.Registry]::Users.GetSubKeyNames()
        $sids += @($loaded | Where-Object { $_ -match '^S-1-(5-21|12-1)-[0-9-]+$' })
    }
    foreach ($sid in $sids) {
        try {
            $options = New-Options $sid
            foreach ($instance in @(Get-Instance $options)) {
                $Session.DeleteInstance($Namespace, $instance, $options)
                Write-Log "Removed $($instance.InstanceID) through the MDM bridge $sid"
            }
        } catch {
            Write-Log "The MDM bridge could not remove it $sid ($($_.Exception.Message))."
        }
    }
    if (-not $UserSid) {
        if ($null -ne (Get-Connection)) {
            Remove-VpnConnection -Name $Name -AllUserConnection -Force -ErrorAction SilentlyContinue
        }
        if ($null -ne (Get-Connection)) {
            # Windows 11 before 22000.1344 and 22621.1778 cannot delete through the bridge.
            $books = Join-Path $ProgramData 'Microsoft\Network\Connections\Pbk'
            Remove-PhonebookEntry (Join-Path $books 'rasphone.pbk')
            Remove-PhonebookEntry (Join-Path $books '_hiddenPbk\rasphone.pbk')
        }
    }
    try { Clear-Registry } catch { Write-Log "The registry was not cleaned wholly: $($_.Exception.Message)" }
    $Machine.DeleteSubKeyTree($Record, $false)
}

function Add-Profile {
    # The bridge unescapes once. The ampersand first, or those of the other escapes would be escaped again.
    $escaped = ([string] $Settings.document).Replace('&', '&amp;')
    $escaped = $escaped.Replace('<', '&lt;').Replace('>', '&gt;').Replace('"', '&quot;')
    $instance = New-Object Microsoft.Management.Infrastructure.CimInstance $ClassName, $Namespace
    $values = @(
        @('ParentID', $ParentId, 'Key'),
        @('InstanceID', [Uri]::EscapeDataString($Name), 'Key'),
        @('ProfileXML', $escaped, 'Property')
    )
    foreach ($value in $values) {
        $property = [Microsoft.Management.Infrastructure.CimProperty]::Create($value[0], $value[1], 'String', $value[2])
        $instance.CimInstanceProperties.Add($property)
    }
    [void] $Session.CreateInstance($Namespace, $instance, (New-Options $UserSid))
    if (-not (Test-Present)) { throw 'the MDM bridge reported success, but the profile is not there' }
    Write-Log "Created $Name, version $($Settings.version)."
}

function Set-Extra {
    # What ProfileXML cannot say. True when all of it was taken.
    $machineUsages = [string[]] @($Settings.machine_usages)
    $issuer = [string] $Settings.machine_issuer
    $proxy = $Settings.proxy
    if ($machineUsages.Count -eq 0 -and -not $issuer -and $null -eq $proxy) { return $true }
    if ($UserSid) {
        Write-Log 'The exceptions of the proxy and certificate filters are not set in a phonebook of one user.'
        return $false
    }
    $taken = $true
    try {
        if ($machineUsages.Count -gt 0) {
            Set-VpnConnection -Name $Name -AllUserConnection -MachineCertificateEKUFilter $machineUsages -Force
        }
        if ($issuer) {
            $authority = Get-ChildItem -Path 'Cert:\LocalMachine\Root', 'Cert:\LocalMachine\CA' |
                Where-Object { $_.Thumbprint -eq $issuer -or $_.Subject -eq $issuer } | Select-Object -First 1
            if ($null -eq $authority) { throw "no certificate of the issuer $issuer in the machine's stores" }
            Set-VpnConnection -Name $Name -AllUserConnection -MachineCertificateIssuerFilter $authority -Force
        }
    } catch {
        Write-Log "The filter of the machine certificate was not taken: $($_.Exception.Message)"
        $taken = $false
    }
    if ($null -ne $proxy) {
        $values = @{ ConnectionName = $Name }
        if ([string] $proxy.server) { $values.ProxyServer = [string] $proxy.server }
        if ([string] $proxy.auto_config_url) { $values.AutoConfigurationScript = [string] $proxy.auto_config_url }
        if (@($proxy.exceptions).Count -gt 0) { $values.ExceptionPrefix = [string[]] @($proxy.exceptions) }
        if ([bool] $proxy.bypass_local) { $values.BypassProxyForLocal = $true }
        try { Set-VpnConnectionProxy @values } catch {
            Write-Log "The exceptions of the proxy were not taken: $($_.Exception.Message)"
            $taken = $false
        }
    }
    return $taken
}

if (-not [Security.Principal.WindowsIdentity]::GetCurrent().IsSystem) {
    Write-Host 'This script has to run as SYSTEM: from Intune, as a scheduled task of SYSTEM, or with psexec -s.'
    exit 2
}
if ($UserSid -and ($IsDevice -or $UserSid -notmatch '^S-1-(5-21|12-1)-[0-9-]+$')) {
    Write-Host '-UserSid takes the SID of a user, and only for a user tunnel.'
    exit 2
}
try {
    if (-not $WhatIfPreference) { $LogFile = Open-Log }
    $Session = New-CimSession
    if ($Detect) {
        if ((Test-InPlace) -and (Test-Record 'extras_hash')) {
            Write-Log "$Name, version $($Settings.version), is in place."
            exit 0
        }
        Write-Log "$Name, version $($Settings.version), is not in place."
        exit 1
    }
    if ($Remove) {
        if ($PSCmdlet.ShouldProcess($Name, 'Remove the VPN profile and what it left behind')) { Remove-Profile }
        exit 0
    }
    if ($Force -or -not (Test-InPlace)) {
        $action = "Remove what is there and install version $($Settings.version)"
        if (-not $PSCmdlet.ShouldProcess($Name, $action)) { exit 0 }
        Remove-Profile
        Add-Profile
        # Only now: what failed before is done again at the next run.
        Set-Record 'hash', 'version'
    } elseif (Test-Record 'extras_hash') {
        Write-Log "$Name, version $($Settings.version), is in place; nothing to do."
        exit 0
    }
    if ($PSCmdlet.ShouldProcess($Name, 'Set what ProfileXML cannot say')) {
        # Tried again at each run, without touching the profile itself.
        if (-not (Set-Extra)) { exit 5 }
        Set-Record 'extras_hash'
    }
    exit 0
} catch {
    $windows = $Machine.OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion')
    $build = [string] $windows.GetValue('CurrentBuildNumber') + '.' + [string] $windows.GetValue('UBR')
    Write-Log "Failed on Windows build ${build}: $($_.Exception.Message)"
    Write-Log 'Windows 11 before 22000.1344 and 22621.1778 cannot create profiles through the MDM bridge: update it.'
    exit 4
}
