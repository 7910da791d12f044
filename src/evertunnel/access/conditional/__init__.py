"""Conditional access policies as Microsoft Graph writes them: all that apply must be satisfied; block wins."""
