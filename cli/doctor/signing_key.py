"""`signing_key`: whether the controller has the key that nodes obey."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.doctor.diagnosis import CONTROLLER, Check, Diagnosis, Role, fine, missing
from cli.doctor.patient import Patient
from controller import keys
from controller.keys import KeyFileError


@dataclass(frozen=True, slots=True)
class Key:
    """The key file. `id` is empty where it cannot be used, which `because` says."""

    path: str
    id: str
    because: str = ""


def read(patient: Patient) -> Key:
    """Return how the key is."""
    named = patient.documents[Role.CONTROLLER].get("signing_key")
    path = Path(named) if named else patient.state(Role.CONTROLLER) / "signing-key.pem"
    try:
        return Key(str(path), keys.key_id(keys.load(path)))
    except KeyFileError as error:
        return Key(str(path), "", str(error))


def judge(key: Key) -> Iterator[Diagnosis]:
    """Say whether orders can be signed."""
    if key.id:
        yield fine(f"Orders are signed with the key {key.id}.")
    else:
        yield missing(
            f"Nodes obey nothing: {key.because}.",
            f"`fleetmend setup controller` makes {key.path} where there is none; nodes must trust the new one then.",
        )


CHECK = Check("signing_key", "The key that signs orders.", CONTROLLER, read, judge)
