"""Codes of countries that files of countries tell: ISO 3166-1 alpha-2, and XK, which all of them have for Kosovo."""

from evertunnel.access.documents import quote

_CODES = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW XK
"""
COUNTRY_CODES = frozenset(_CODES.split())
# What many write and no file tells.
_USUAL_MISTAKES = {"UK": "GB", "EL": "GR"}


def find_country_problem(code: str) -> str:
    """Why a text is the code of no country, and what to write; empty when it is one, in capitals."""
    if code in COUNTRY_CODES:
        return ""
    meant = code.upper() if code.upper() in COUNTRY_CODES else _USUAL_MISTAKES.get(code.upper())
    return f"{quote(code)} is the code of no country: write {meant or 'two capitals such as FR (ISO 3166-1)'}"
