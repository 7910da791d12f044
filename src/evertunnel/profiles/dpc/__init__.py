"""DPC (Dynamic Profile Configurator): its registry values as .reg, as PowerShell, for Group Policy; and read back."""
