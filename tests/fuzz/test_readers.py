"""The targets of PEAP and EAP-MSCHAPv2 find a reader that is wrong: each of these mistakes was made here on purpose."""

from typing import Any

import pytest

from evertunnel.protocols.eap import peap_keys
from evertunnel.protocols.eap.methods import mschapv2
from evertunnel.protocols.eap.methods import peap as method
from evertunnel.protocols.eap.methods.mschapv2 import EAPMSCHAPv2
from evertunnel.protocols.eap.methods.progress import Finished
from tests.fuzz.target import Target
from tests.fuzz.targets import mschapv2 as passwords
from tests.fuzz.targets import peap


def play(target: Target) -> None:
    for seed in target.seeds:
        target.check(seed)


@pytest.mark.parametrize("module", [passwords, peap])
def test_a_response_that_is_not_compared_is_found(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = module.build()
    monkeypatch.setattr(mschapv2.hmac, "compare_digest", lambda *_: True)
    with pytest.raises(AssertionError, match="counts as"):
        play(target)


def test_passwords_that_may_be_tried_for_ever_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = passwords.build()
    refuse = EAPMSCHAPv2._refuse_password

    def forgetful(self: EAPMSCHAPv2, wrong: Any) -> Any:
        self._retries = 2
        return refuse(self, wrong)

    monkeypatch.setattr(EAPMSCHAPv2, "_refuse_password", forgetful)
    with pytest.raises(AssertionError, match="once more"):
        play(target)


def test_a_binding_of_other_keys_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = peap.build()
    monkeypatch.setattr(peap_keys, "is_binding_right", lambda *_: True)
    with pytest.raises(AssertionError, match="a binding counts as right"):
        play(target)


def test_a_login_that_is_not_bound_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = peap.build()
    accept = method.PEAP.accept
    monkeypatch.setattr(method.PEAP, "accept", lambda self, **_: accept(self, binding_required=False))
    with pytest.raises(AssertionError, match="an unbound login"):
        play(target)


def test_keys_that_are_not_those_of_the_binding_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = peap.build()
    monkeypatch.setattr(method, "Finished", lambda peer, _key, bound: Finished(peer, bytes(64), bound))
    with pytest.raises(AssertionError):
        play(target)
