"""Look at Valkey and the mail server, as the gateway and the mailers reach them."""

import ssl
from typing import Any

import aiosmtplib
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from services.chassis.runtime.tls_faults import tls_fault
from services.operator.doctor.clocks import look_at_clock
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding, fault, ok, warning

ANSWER_SECONDS = 5.0
SERIOUS_SECONDS = 10.0


async def check_valkey(around: Surroundings) -> list[Finding]:
    """Check that Valkey answers; tell its version and compare its clock."""
    settings = around.settings
    if not settings.is_set("redis_url"):
        mend = "Set REDIS_URL here too, as the gateway has it."
        return [warning("Valkey", "REDIS_URL is not set here, so it was not looked at", mend)]
    away = "Until then each gateway counts limits by itself; nothing is lost."
    trusted: dict[str, Any] = {"ssl_ca_certs": settings.redis_ca_file} if settings.redis_ca_file else {}
    client = Redis.from_url(
        settings.redis_url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        decode_responses=True,
        **trusted,
    )
    try:
        before = around.now()
        seconds, microseconds = await client.time()
        after = around.now()
        about = await client.info("server")
    except (AuthenticationError, ResponseError) as error:
        mend = f"Set the user and password of REDIS_URL to those of the server. {away}"
        return [fault("Valkey", f"it refuses ({type(error).__name__})", mend)]
    except (RedisError, OSError) as error:
        wrong = tls_fault(error)
        if wrong is not None:
            mend = f"Set REDIS_URL to the name in its certificate, and REDIS_CA_FILE to who signed it. {away}"
            return [fault("Valkey", f"it {wrong}", mend)]
        mend = f"Start Valkey, or set REDIS_URL to where it is. {away}"
        return [fault("Valkey", f"it does not answer at REDIS_URL ({type(error).__name__})", mend)]
    finally:
        await client.aclose()
    version = about.get("valkey_version") or about.get("redis_version") or "unknown"
    told = ok("Valkey", f"it answers; its version is {version}")
    difference = seconds + microseconds / 1e6 - (before + after) / 2
    return [told, look_at_clock("Valkey", difference, (after - before) / 2, SERIOUS_SECONDS)]


async def check_mail_server(around: Surroundings) -> list[Finding]:
    """Check that the mail server greets us, and takes our name and password; no mail is sent."""
    settings = around.settings
    if not settings.is_set("smtp_host"):
        mend = "Set SMTP_HOST and its companions here too, as the mailers have them."
        return [warning("mail server", "SMTP_HOST is not set here, so it was not looked at", mend)]
    place = f"{settings.smtp_host}:{settings.smtp_port}"
    client = aiosmtplib.SMTP(
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        timeout=ANSWER_SECONDS,
        use_tls=settings.smtp_security == "tls",
        start_tls=False,
        tls_context=ssl.create_default_context(cafile=settings.smtp_ca_file or None),
    )
    step, mend = "connect", "Start it, or set SMTP_HOST and SMTP_PORT to where it is; mails wait meanwhile."
    try:
        greeting = await client.connect()
        if settings.smtp_security == "starttls":
            step, mend = (
                "STARTTLS",
                "Set SMTP_SECURITY to what it offers, and SMTP_CA_FILE if its authority is your own.",
            )
            await client.starttls()
        if settings.smtp_username:
            step, mend = "sign-in", "Set SMTP_USERNAME and SMTP_PASSWORD to what the mail server knows."
            await client.login(settings.smtp_username, settings.smtp_password)
        await client.quit()
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return [fault("mail server", f"{place} fails at {step}: {str(error)[:200] or type(error).__name__}", mend)]
    finally:
        client.close()
    return [ok("mail server", f"{place} greets: {greeting.code} {greeting.message.splitlines()[0]}")]
