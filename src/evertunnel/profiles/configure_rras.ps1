<#
.SYNOPSIS
    Sets up an RRAS server, and NPS, for one VPN profile, so that both ends come from it. Made by Evertunnel.

.DESCRIPTION
    Run it as an administrator on the server; -WhatIf shows what it would do. RRAS must have been installed as a VPN
    server. Nothing another profile needs is taken away: authentication methods are added, other ports stay.
    Addresses, names, the server's certificates and RADIUS servers are not the profile's and not touched.

    From documentation only: never run on Windows. Checked by an independent parser.

    Exit codes: 0 done. 1 not an administrator, or the role is missing. 4 failed. 5 done, but something needs a hand.

.PARAMETER Role
    Rras, Nps, or both (the default).
.PARAMETER Ports
    How many tunnels of each protocol of the profile; 0 leaves the number as it is.
.PARAMETER ClientRootThumbprint
    The one root whose machine certificates RRAS accepts for device tunnels, if the profile does not name it.
.PARAMETER NoRevocationCheck
    Do not check CRLs of machine certificates. Certificates of Evertunnel's device authority have no CRL, and RRAS
    would refuse them: it cannot ask Evertunnel at all, so a denied device is not kept out by such a server.
.PARAMETER GroupSid
    The group that NPS lets in. Without it no network policy is made.
.PARAMETER PolicyOrder
    The place of the new network policy.
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [ValidateSet('Rras', 'Nps', 'Both')] [string] $Role = 'Both',
    [ValidateRange(0, 30000)] [int] $Ports = 0,
    [ValidatePattern('^([0-9A-Fa-f]{40})?$')] [string] $ClientRootThumbprint = '',
    [switch] $NoRevocationCheck,
    [ValidatePattern('^(S-1-[0-9-]+)?$')] [string] $GroupSid = '',
    [ValidateRange(1, 999)] [int] $PolicyOrder = 1
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# All that is particular to one profile, as data: base64 of JSON. The rest of this script is the same for every profile.
$Payload = '@PAYLOAD@'
$Settings = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($Payload)) | ConvertFrom-Json
$Protocols = [string[]] @($Settings.protocols)
$IsDevice = [string] $Settings.tunnel -eq 'device'
$script:ByHand = $false

function Write-ByHand([string] $Text) {
    $script:ByHand = $true
    Write-Warning $Text
}

function Set-Number([string] $Path, [string] $Value, [int] $Number) {
    if (-not $PSCmdlet.ShouldProcess("HKLM\$Path", "Set $Value to $Number")) { return }
    $key = [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey($Path)
    $key.SetValue($Value, $Number, [Microsoft.Win32.RegistryValueKind]::DWord)
    $key.Close()
}

function Set-Server {
    # Windows Server 2012 has only the second name, without the tunnel's type; since 2012 R2 the first is for clients.
    $command = Get-Command -Name 'Set-VpnServerConfiguration' -ErrorAction SilentlyContinue
    if ($null -eq $command) { $command = Get-Command -Name 'Set-VpnServerIPsecConfiguration' }
    $values = @{}
    $suite = $Settings.suite
    if ($null -ne $suite) {
        $values.CustomPolicy = $true
        foreach ($part in $suite.PSObject.Properties) { $values[$part.Name] = [string] $part.Value }
        $values.SALifeTimeSeconds = 28800
        $values.MMSALifeTimeSeconds = 86400
        $values.SADataSizeForRenegotiationKilobytes = 1024000
        $values.TunnelType = [string] $Settings.tunnel_type
    }
    if ($Ports -gt 0) {
        if ($Protocols -contains 'IKEv2') { $values.Ikev2Ports = $Ports }
        if ($Protocols -contains 'SSTP') { $values.SstpPorts = $Ports }
        if ($Protocols -contains 'L2TP') { $values.L2tpPorts = $Ports }
    }
    foreach ($name in @($values.Keys)) {
        if (-not $command.Parameters.ContainsKey($name)) {
            Write-ByHand "This Windows Server's $($command.Name) has no -$name; it is left out."
            $values.Remove($name)
        }
    }
    if ($values.Count -gt 0 -and $PSCmdlet.ShouldProcess('RRAS', "$($command.Name) $($values.Keys -join ', ')")) {
        & $command @values
    }
}

function Set-Authentication {
    $now = Get-VpnAuthProtocol
    $accepted = @($now.UserAuthProtocolAccepted)
    foreach ($method in @($Settings.user_auth)) { if ($accepted -notcontains $method) { $accepted += $method } }
    $values = @{ UserAuthProtocolAccepted = [string[]] $accepted }
    if ($IsDevice) {
        $thumbprint = $ClientRootThumbprint
        if (-not $thumbprint) { $thumbprint = [string] $Settings.client_root }
        if ($thumbprint) {
            $root = Get-ChildItem -Path 'Cert:\LocalMachine\Root' | Where-Object { $_.Thumbprint -eq $thumbprint }
            if ($null -eq $root) { throw "the root $thumbprint is not among the trusted roots of this machine" }
            $values.RootCertificateNameToAccept = $root
        } else {
            Write-ByHand 'No root is named: RRAS accepts machine certificates of ANY root. Give -ClientRootThumbprint.'
        }
        $usages = [string[]] @($Settings.machine_usages)
        if ($usages.Count -gt 0) { $values.CertificateEKUsToAccept = $usages }
    }
    if ($PSCmdlet.ShouldProcess('RRAS', "Set-VpnAuthProtocol $($values.Keys -join ', ')")) {
        Set-VpnAuthProtocol @values
    }
}

function Set-Firewall {
    $rules = @()
    if ($Protocols -contains 'IKEv2' -or $Protocols -contains 'L2TP') {
        $rules += , @('IKE', 'UDP', @('500', '4500'))
    }
    if ($Protocols -contains 'SSTP') { $rules += , @('SSTP', 'TCP', @('443')) }
    if ($Protocols -contains 'PPTP') { $rules += , @('PPTP', 'TCP', @('1723')) }
    foreach ($rule in $rules) {
        $name = "Evertunnel-$($rule[0])"
        if ($null -ne (Get-NetFirewallRule -Name $name -ErrorAction SilentlyContinue)) { continue }
        if ($PSCmdlet.ShouldProcess($name, "Let in $($rule[1]) $($rule[2] -join ', ')")) {
            $values = @{ Name = $name; DisplayName = "VPN $($rule[0])"; Direction = 'Inbound'; Action = 'Allow' }
            [void] (New-NetFirewallRule @values -Protocol $rule[1] -LocalPort $rule[2])
        }
    }
}

function Set-Rras {
    if ($null -eq (Get-Command -Name 'Set-VpnAuthProtocol' -ErrorAction SilentlyContinue)) {
        Write-Warning 'The module RemoteAccess is missing: install the role Remote Access with its management tools.'
        exit 1
    }
    Set-Server
    Set-Authentication
    $ikev2 = 'SYSTEM\CurrentControlSet\Services\RemoteAccess\Parameters\Ikev2'
    if ([bool] $Settings.fragmentation) { Set-Number $ikev2 'EnableServerFragmentation' 1 }
    if ($IsDevice) {
        if ($NoRevocationCheck) {
            Write-ByHand 'A revoked machine certificate is accepted by this server until it ends.'
        } else {
            # Needs a CRL address in the certificates and the root set above; 4 enforces it.
            Set-Number $ikev2 'CertAuthFlags' 4
        }
    }
    Set-Firewall
    if ($PSCmdlet.ShouldProcess('RemoteAccess', 'Restart the service, which disconnects everybody')) {
        Restart-Service -Name RemoteAccess -Force
    }
}

function Set-Nps {
    if ($null -eq (Get-Service -Name IAS -ErrorAction SilentlyContinue)) {
        Write-ByHand 'NPS is not installed here: run this script on the NPS server as well.'
        return
    }
    if ([bool] $Settings.no_revocation_address) {
        # Short-lived certificates name no CRL. Only "no address" is passed; an unreachable CRL still refuses.
        Set-Number 'SYSTEM\CurrentControlSet\Services\RasMan\PPP\EAP\13' 'IgnoreNoRevocationCheck' 1
        Write-ByHand 'Restart this NPS server: a restart of the service is not enough for IgnoreNoRevocationCheck.'
    }
    $oids = [string[]] @($Settings.allowed_certificate_oids)
    if (-not $GroupSid) {
        Write-ByHand "No network policy was made (-GroupSid). Yours needs Allowed-Certificate-OID: $($oids -join ', ')"
        return
    }
    # Attribute ids of NPS: group, dial-in allowed and ignored, EAP type, authentication type EAP, Framed, PPP.
    $lines = @('nps', 'add', 'np', 'name=Evertunnel user tunnel', 'state=enable', "processingorder=$PolicyOrder",
        'policysource=2', 'conditionid=0x1fb5', "conditiondata=$GroupSid", 'profileid=0x1005', 'profiledata=TRUE',
        'profileid=0x100f', 'profiledata=TRUE', 'profileid=0x100a', "profiledata=$($Settings.eap_type)",
        'profileid=0x1009', 'profiledata=0x5', 'profileid=0x6', 'profiledata=0x2', 'profileid=0x7', 'profiledata=0x1')
    foreach ($oid in $oids) { $lines += @('profileid=0x1041', "profiledata=$oid") }
    if ($PSCmdlet.ShouldProcess('NPS', "netsh $($lines -join ' ')")) {
        & (Join-Path $env:SystemRoot 'System32\netsh.exe') $lines
        if ($LASTEXITCODE -ne 0) { throw "netsh said $LASTEXITCODE; nothing of the network policy was made" }
        Write-ByHand 'Choose the server certificate and the inner EAP method in the new policy: netsh cannot.'
    }
}

try {
    $identity = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    if (-not $identity.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        Write-Warning 'Run this as an administrator.'
        exit 1
    }
    if ($Role -ne 'Nps') { Set-Rras }
    if ($Role -ne 'Rras' -and -not $IsDevice) { Set-Nps }
    foreach ($loss in @($Settings.losses)) { Write-Warning "Not done by this script: $loss" }
    if ($script:ByHand) { exit 5 }
    exit 0
} catch {
    Write-Warning "Failed: $($_.Exception.Message)"
    exit 4
}
