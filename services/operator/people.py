"""People as an operator reads them: a field a line, each whole, with nothing in it that acts on a terminal."""

from typing import Any

from services.operator.dead_letters import printable


def lines(person: dict[str, Any]) -> list[str]:
    """Return a person as lines; sessions, mail and comments where they are given."""
    found = [person["id"], f"    name       {person['name']}"]
    if person["email"]:
        found += [f"    address    {person['email']}", f"    confirmed  {person['confirmed_at']}"]
    found += [f"    roles      {', '.join(person['roles']) or 'none'}"]
    found += [f"    since      {person['created_at']}{', imported' if person['imported'] else ''}"]
    if person["erased_at"]:
        found += [f"    erased     {person['erased_at']}"]
    if "mail" in person:
        found += [f"    mail       {'about answers' if person['mail'] else 'none about answers'}"]
    if "comments" in person:
        counts = ", ".join(f"{count:,} {state}" for state, count in person["comments"].items())
        found += [f"    comments   {counts}"]
    for session in person.get("sessions", ()):
        used = f"last used {session['used_at']}" if session["used_at"] else f"since {session['created_at']}"
        found += [f"    session    {session['id']}", f"               {session['kind']}, {used}"]
    return [printable(line) for line in found]
