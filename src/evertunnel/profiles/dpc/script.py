"""DPC settings as a PowerShell script that sets them; from documentation only.

Values travel as base64 of JSON, never as code. The script uses .NET's registry classes rather than the cmdlets: those
take names for wildcards, and in the 32-bit PowerShell in which Intune runs scripts they write where DPC never looks.
"""

import base64
import json

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.dpc.syntax import DPCTunnel
from evertunnel.profiles.dpc.values import build_dpc_values, build_version_value
from evertunnel.profiles.model import Profile
from evertunnel.profiles.registry import RegistryData, RegistryType, RegistryValue

_MACHINE = "HKEY_LOCAL_MACHINE\\"
_KINDS = {
    RegistryType.SZ: "String",
    RegistryType.EXPAND_SZ: "ExpandString",
    RegistryType.BINARY: "Binary",
    RegistryType.DWORD: "DWord",
    RegistryType.MULTI_SZ: "MultiString",
    RegistryType.QWORD: "QWord",
}

_SCRIPT = """\
#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
  Writes the settings of one DPC tunnel into the registry. A second run changes nothing.
  -WhatIf shows what would change.
.NOTES
  Exit code 0: the settings are in place. 1: an error.
#>
[CmdletBinding(SupportsShouldProcess)]
param()
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$payload = @'
{payload}
'@
$json = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($payload))
$settings = ConvertFrom-Json -InputObject $json
$changes = 0

function ConvertTo-RegistryData($Setting) {{
    switch ($Setting.kind) {{
        'DWord' {{ return [int]$Setting.data }}
        'QWord' {{ return [long]$Setting.data }}
        'Binary' {{ return , [Convert]::FromBase64String($Setting.data) }}
        'MultiString' {{ return , [string[]]@($Setting.data) }}
        default {{ return [string]$Setting.data }}
    }}
}}

function Test-RegistryData($Key, $Setting, $Data) {{
    $names = $Key.GetValueNames()
    if ($names -notcontains $Setting.name) {{ return $false }}
    if ($Key.GetValueKind($Setting.name) -ne [Microsoft.Win32.RegistryValueKind]$Setting.kind) {{ return $false }}
    $option = [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames
    $found = $Key.GetValue($Setting.name, $null, $option)
    return (ConvertTo-Json -Compress -InputObject @($found)) -ceq (ConvertTo-Json -Compress -InputObject @($Data))
}}

function Remove-Leftover($Machine, [string]$Path) {{
    $key = $Machine.OpenSubKey($Path, $true)
    if ($null -eq $key) {{ return }}
    try {{
        $wanted = @($settings.values | Where-Object {{ $_.key -eq $Path }} | ForEach-Object {{ $_.name }})
        foreach ($name in $key.GetValueNames()) {{
            if ($wanted -notcontains $name -and $PSCmdlet.ShouldProcess("$Path\\$name", 'Remove value')) {{
                $key.DeleteValue($name, $false)
                $script:changes++
            }}
        }}
        foreach ($name in $key.GetSubKeyNames()) {{
            $below = "$Path\\$name"
            $kept = @($settings.values | Where-Object {{
                    $_.key -eq $below -or $_.key.StartsWith("$below\\", [StringComparison]::OrdinalIgnoreCase) }})
            if ($kept.Count -gt 0) {{
                Remove-Leftover $Machine $below
            }} elseif ($PSCmdlet.ShouldProcess($below, 'Remove key')) {{
                $key.DeleteSubKeyTree($name, $false)
                $script:changes++
            }}
        }}
    }} finally {{
        $key.Dispose()
    }}
}}

try {{
    # DPC reads the 64-bit view, whatever this PowerShell is.
    $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey(
        [Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
    # The switch of the tunnel comes last: DPC may look at any moment.
    foreach ($setting in $settings.values) {{
        $data = ConvertTo-RegistryData $setting
        $key = $machine.OpenSubKey($setting.key)
        if ($null -ne $key) {{
            $same = Test-RegistryData $key $setting $data
            $key.Dispose()
            if ($same) {{ continue }}
        }}
        if ($PSCmdlet.ShouldProcess("$($setting.key)\\$($setting.name)", 'Set value')) {{
            $key = $machine.CreateSubKey($setting.key)
            try {{
                # The registry refuses the wrapper that a function puts around its result.
                $kind = [Microsoft.Win32.RegistryValueKind]$setting.kind
                $key.SetValue($setting.name, $data.psobject.BaseObject, $kind)
            }} finally {{
                $key.Dispose()
            }}
            $changes++
        }}
    }}
    Remove-Leftover $machine $settings.tunnel
    Write-Output "DPC settings in place; values changed: $changes"
    exit 0
}} catch {{
    [Console]::Error.WriteLine("DPC settings not set: $($_.Exception.Message)")
    exit 1
}}
"""


def build_dpc_powershell(
    profile: Profile, *, tunnel: DPCTunnel | None = None, policies: bool = False, override: bool = False
) -> str:
    """The script, in ASCII; run it as administrator or SYSTEM. Raises InvalidInputError as `build_dpc_values` does."""
    switch, *values = build_dpc_values(profile, tunnel=tunnel, policies=policies, override=override)
    document = {
        "tunnel": _strip(f"{switch.key}\\{switch.name}"),
        "values": [_describe(value) for value in (*values, build_version_value(profile), switch)],
    }
    payload = base64.b64encode(json.dumps(document, ensure_ascii=True).encode("ascii")).decode("ascii")
    lines = "\n".join(payload[index : index + 120] for index in range(0, len(payload), 120))
    return _SCRIPT.format(payload=lines)


def _describe(value: RegistryValue) -> dict[str, object]:
    kind = _KINDS.get(RegistryType(value.type)) if value.type in list(RegistryType) else None
    if kind is None:
        raise InvalidInputError(f"{value.key}\\{value.name}: PowerShell cannot write a value of type {value.type}")
    return {"key": _strip(value.key), "name": value.name, "kind": kind, "data": _convert(value.type, value.data)}


def _convert(kind: int, data: RegistryData) -> object:
    if isinstance(data, bytes):
        return base64.b64encode(data).decode("ascii")
    if isinstance(data, int):
        # .NET takes numbers with a sign.
        size = 32 if kind == RegistryType.DWORD else 64
        return data - (1 << size) if data >> (size - 1) else data
    return list(data) if isinstance(data, tuple) else data


def _strip(key: str) -> str:
    return key.removeprefix(_MACHINE)
