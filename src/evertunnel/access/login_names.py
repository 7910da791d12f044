"""The names clients call themselves by: user@domain, DOMAIN\\user, host/name, or nobody's. Pure.

Our users are called user@domain. DOMAIN is the whole domain or its first label, which is how Windows shortens it where
nobody chose otherwise. host/name is a computer, and belongs to no user.
"""

_ANONYMOUS = ("", "anonymous")


def names_user(claimed: str, user_name: str) -> bool:
    """Whether what a client calls itself is this user, or nobody in his domain (RFC 7542 2.4)."""
    user, domain = _split(claimed)
    own_user, _, own_domain = user_name.casefold().partition("@")
    if user in _ANONYMOUS:
        return not domain or _is_domain(claimed, domain, own_domain)
    return user == own_user and _is_domain(claimed, domain, own_domain)


def list_login_names(user_name: str) -> list[str]:
    """All that a user may call himself, as `fold_login_name` writes it."""
    user, _, domain = user_name.casefold().partition("@")
    return list(dict.fromkeys((f"{user}@{domain}", f"{domain}\\{user}", f"{domain.partition('.')[0]}\\{user}")))


def fold_login_name(claimed: str) -> str:
    """One spelling a name."""
    return claimed.strip().casefold()


def _split(claimed: str) -> tuple[str, str]:
    name = fold_login_name(claimed)
    if "\\" in name:
        domain, _, user = name.partition("\\")
        return user, domain
    user, _, domain = name.partition("@")
    return user, domain


def _is_domain(claimed: str, domain: str, own_domain: str) -> bool:
    return domain == own_domain or ("\\" in claimed and domain == own_domain.partition(".")[0])
