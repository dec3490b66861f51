"""Typer builds all commands anew for every call, which takes a quarter of a small run: here it builds them once."""

from __future__ import annotations

import functools

import typer.main


def build_commands_once() -> None:
    typer.main.get_command = functools.cache(typer.main.get_command)
