"""``partreid users``: the users of the page and its API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from partreid.cli import options as opt
from partreid.cli.console import console, emit, emit_json, emit_rows, errors

app = typer.Typer(help="Users of the page (`partreid app --users FILE`): tokens and roles.", no_args_is_help=True)

UsersFile = Annotated[Path, typer.Argument(metavar="FILE", help="File of the users; `add` creates it.")]
Name = Annotated[str, typer.Argument(help="The user's name, which the audit log will show.")]


@app.command()
def add(
    file: UsersFile,
    name: Name,
    role: Annotated[
        Literal["search", "add", "delete"],
        typer.Option(help="What the user may do. add includes search, and delete includes both."),
    ] = "search",
) -> None:
    """Add a user, and print the token. It is shown only once, because the file contains only its hash."""
    from partreid.app.users import Users

    token = Users(file).add(name, role)
    errors.print(f"{name} may {role}. Hand the token over safely, because it cannot be shown again.", soft_wrap=True)
    emit(token)


@app.command("list")
def list_users(file: UsersFile, as_json: opt.AsJson = False) -> None:
    """List the users, their roles, and when they were added."""
    from partreid.app.users import Users

    users = Users(file).listed()
    if as_json:
        emit_json([{"name": user.name, "role": user.role, "created": user.created} for user in users])
    else:
        emit_rows("Users", ("name", "role", "created"), [(user.name, user.role, user.created) for user in users])


@app.command()
def revoke(file: UsersFile, name: Name) -> None:
    """Revoke a user's token. A running page refuses it from the next request on."""
    from partreid.app.users import Users

    Users(file).revoke(name)
    console.print(f"The token of {name} is revoked.")
