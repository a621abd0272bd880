"""Schedules as entries for cron and systemd, which then run `costctl schedule run NAME` in the daemon's place."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from costctl.domain.cron import Cron
from costctl.domain.schedules import Every, Once, format_exactly
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from costctl.domain.schedules import Schedule

_DAY_MINUTES = 24 * 60
_HOUR_MINUTES = 60
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def crontab(
    schedules: Sequence[Schedule], *, program: Sequence[str], environment: Mapping[str, str], system_zone: str
) -> str:
    """Return lines for a crontab.

    Raises:
        BadValueError: cron cannot say when one of them is due.
    """
    lines = ["# Written by `costctl schedule export --crontab`. Pause these in costctl, or both will run them."]
    foreign = any(isinstance(one.rule, Cron) and one.zone.key != system_zone for one in schedules)
    if foreign:
        lines.append(
            "# CRON_TZ holds for the lines below it. Debian's cron does not know it: use timers of systemd there."
        )
    for one in schedules:
        lines += [f"CRON_TZ={one.zone.key}"] if foreign else []
        lines.append(f"{_cron_fields(one)} {_shell_line(one, program, environment)}")
    return "\n".join(lines) + "\n"


def systemd_units(schedule: Schedule, *, program: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return a service and its timer, by the names of their files."""
    name = f"costctl-{schedule.name}"
    settings = "".join(f"Environment={_quoted(f'{key}={value}')}\n" for key, value in environment.items())
    words = " ".join(_quoted(word).replace("$", "$$") for word in (*program, "schedule", "run", schedule.name))
    service = (
        f"[Unit]\nDescription=costctl: the schedule {schedule.name}\n\n[Service]\nType=oneshot\n{settings}"
        f"WorkingDirectory={schedule.folder.replace('%', '%%')}\nExecStart={words}\n"
    )
    moments = "\n".join(_timer_lines(schedule))
    timer = (
        f"[Unit]\nDescription=costctl: when the schedule {schedule.name} is due\n\n[Timer]\n{moments}\n"
        "AccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    )
    return {f"{name}.service": service, f"{name}.timer": timer}


def _shell_line(schedule: Schedule, program: Sequence[str], environment: Mapping[str, str]) -> str:
    settings = [f"{key}={shlex.quote(value)}" for key, value in environment.items()]
    words = [*settings, *map(shlex.quote, (*program, "schedule", "run", schedule.name))]
    return f"cd {shlex.quote(schedule.folder)} && {' '.join(words)}".replace("%", r"\%")  # cron's % is a new line


def _cron_fields(schedule: Schedule) -> str:
    rule = schedule.rule
    if isinstance(rule, Cron):
        return rule.text
    if isinstance(rule, Every):
        minutes = rule.seconds // 60
        if minutes < _HOUR_MINUTES and _HOUR_MINUTES % minutes == 0:
            return f"*/{minutes} * * * *"
        if minutes % _HOUR_MINUTES == 0 and _DAY_MINUTES % minutes == 0:
            return f"0 */{minutes // _HOUR_MINUTES} * * *" if minutes < _DAY_MINUTES else "0 0 * * *"
    raise BadValueError(f"cron cannot say {rule!s} ({schedule.name!r}): export it with --systemd")


def _timer_lines(schedule: Schedule) -> Iterator[str]:
    rule, zone = schedule.rule, schedule.zone.key
    match rule:
        case Every():
            yield f"OnActiveSec={format_exactly(rule.seconds)}"
            yield f"OnUnitActiveSec={format_exactly(rule.seconds)}"
            return
        case Once():
            yield f"OnCalendar={rule.wall:%Y-%m-%d %H:%M:%S} {zone}"
        case Cron():
            yield from (f"OnCalendar={moment} {zone}" for moment in _calendar(rule))
    yield "Persistent=true"


def _calendar(cron: Cron) -> Iterator[str]:
    """Yield what systemd.time(7) makes of a cron expression; systemd takes two of them as either."""
    every_day, every_weekday = len(cron.days) == 31, len(cron.weekdays) == len(_WEEKDAYS)  # noqa: PLR2004 - a month's
    days = "*" if every_day else ",".join(f"{day:02}" for day in cron.days)
    weekdays = "" if every_weekday else ",".join(_WEEKDAYS[day] for day in cron.weekdays) + " "
    month = "*" if len(cron.months) == 12 else ",".join(f"{month:02}" for month in cron.months)  # noqa: PLR2004
    clock = f"{_numbers(cron.hours, 24)}:{_numbers(cron.minutes, 60)}:00"
    if cron.either_day:
        yield f"*-{month}-{days} {clock}"
        yield f"{weekdays}*-{month}-* {clock}"
    else:
        yield f"{weekdays}*-{month}-{days} {clock}"


def _numbers(values: tuple[int, ...], all_of_them: int) -> str:
    return "*" if len(values) == all_of_them else ",".join(f"{value:02}" for value in values)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
