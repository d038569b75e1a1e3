"""Which settings a role of notify needs."""

import pytest

from services.chassis.runtime.process import Health
from services.notify.__main__ import compose
from services.notify.settings import NotifySettings


@pytest.fixture
def settings(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> NotifySettings:
    """Settings read from an environment in which those of SMTP are not valid."""
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NOTIFY_DATABASE_URL", "postgresql://notify@127.0.0.1:5432/notify")
    monkeypatch.setenv("SMTP_PORT", "none")
    monkeypatch.setenv("SMTP_SECURITY", "no such thing")
    return NotifySettings()


async def test_only_the_mailer_reads_the_smtp_settings(
    settings: NotifySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with compose(settings, ("api", "relay", "consumer"), Health()) as roles:
        assert {"api", "relay", "consumer"} <= {role.name for role in roles}
    with pytest.raises(SystemExit):
        async with compose(settings, ("mailer",), Health()):
            pass
    assert capsys.readouterr().err.startswith("SMTP_PORT=none cannot be used")


def test_the_settings_hold_no_password(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_DATABASE_URL", "postgresql://notify@127.0.0.1:5432/notify")
    monkeypatch.setenv("SMTP_PASSWORD", "correct horse")
    assert "correct horse" not in str(NotifySettings().model_dump())
