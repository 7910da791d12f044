"""In which order each way to Windows wants the elements of ProfileXML.

INTUNE from samples published for Windows 11, SCHEMA from Microsoft's XSD, WMI from a generator known to work.
"""

from enum import StrEnum


class Target(StrEnum):
    """Who gets the document."""

    INTUNE = "intune"
    WMI = "wmi"
    SCHEMA = "schema"


ORDER = {
    Target.INTUNE: [
        "AlwaysOn",
        "RememberCredentials",
        "DeviceTunnel",
        "AlwaysOnActive",
        "LockDown",
        "EdpModeId",
        "DnsSuffix",
        "TrustedNetworkDetection",
        "DisableAdvancedOptionsEditButton",
        "DisableDisconnectButton",
        "ByPassForLocal",
        "Proxy",
        "DeviceCompliance",
        "AppTrigger",
        "NativeProfile",
        "Route",
        "TrafficFilter",
        "DomainNameInformation",
        "RegisterDNS",
        "NetworkOutageTime",
        "IPv4InterfaceMetric",
        "IPv6InterfaceMetric",
        "UseRasCredentials",
        "DataEncryption",
        "PrivateNetwork",
        "DisableIKEv2Fragmentation",
    ],
    Target.SCHEMA: [
        "ProfileName",
        "EdpModeId",
        "RememberCredentials",
        "AlwaysOn",
        "DnsSuffix",
        "TrustedNetworkDetection",
        "DisableAdvancedOptionsEditButton",
        "DisableDisconnectButton",
        "LockDown",
        "DeviceTunnel",
        "RegisterDNS",
        "ByPassForLocal",
        "Proxy",
        "DeviceCompliance",
        "AppTrigger",
        "DomainNameInformation",
        "TrafficFilter",
        "NativeProfile",
        "Route",
    ],
    Target.WMI: [
        "EdpModeId",
        "RememberCredentials",
        "DnsSuffix",
        "RegisterDNS",
        "TrustedNetworkDetection",
        "AlwaysOn",
        "AlwaysOnActive",
        "LockDown",
        "DeviceTunnel",
        "ByPassForLocal",
        "DataEncryption",
        "DisableAdvancedOptionsEditButton",
        "DisableDisconnectButton",
        "DisableIKEv2Fragmentation",
        "IPv4InterfaceMetric",
        "IPv6InterfaceMetric",
        "NetworkOutageTime",
        "PrivateNetwork",
        "UseRasCredentials",
        "Proxy",
        "DeviceCompliance",
        "AppTrigger",
        "DomainNameInformation",
        "TrafficFilter",
        "NativeProfile",
        "Route",
    ],
}
NATIVE_ORDER = {
    Target.INTUNE: [
        "Servers",
        "RoutingPolicyType",
        "NativeProtocolType",
        "ProtocolList",
        "L2tpPsk",
        "Authentication",
        "CryptographySuite",
        "DisableClassBasedDefaultRoute",
        "PlumbIKEv2TSAsRoutes",
    ],
    Target.SCHEMA: [
        "Servers",
        "RoutingPolicyType",
        "NativeProtocolType",
        "L2tpPsk",
        "DisableClassBasedDefaultRoute",
        "PlumbIKEv2TSAsRoutes",
        "CryptographySuite",
        "Authentication",
    ],
    Target.WMI: [
        "Servers",
        "RoutingPolicyType",
        "NativeProtocolType",
        "ProtocolList",
        "L2tpPsk",
        "DisableClassBasedDefaultRoute",
        "PlumbIKEv2TSAsRoutes",
        "CryptographySuite",
        "Authentication",
    ],
}
