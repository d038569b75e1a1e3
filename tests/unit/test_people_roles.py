"""Which settings a role of people needs."""

import pytest

from services.chassis.runtime.process import Health
from services.people.__main__ import compose
from services.people.settings import PeopleSettings


@pytest.fixture
def settings(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> PeopleSettings:
    """Settings read from an environment in which those of SMTP are not valid."""
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PEOPLE_DATABASE_URL", "postgresql://people@127.0.0.1:5432/people")
    monkeypatch.setenv("SMTP_PORT", "none")
    monkeypatch.setenv("SMTP_SECURITY", "no such thing")
    return PeopleSettings()


async def test_only_the_mailer_reads_the_smtp_settings(
    settings: PeopleSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with compose(settings, ("api", "relay"), Health()) as roles:
        assert {"api", "relay"} <= {role.name for role in roles}
    with pytest.raises(SystemExit):
        async with compose(settings, ("mailer",), Health()):
            pass
    assert capsys.readouterr().err.startswith("SMTP_PORT=none cannot be used")


def test_the_settings_hold_no_password(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEOPLE_DATABASE_URL", "postgresql://people@127.0.0.1:5432/people")
    monkeypatch.setenv("SMTP_PASSWORD", "correct horse")
    assert "correct horse" not in str(PeopleSettings().model_dump())
