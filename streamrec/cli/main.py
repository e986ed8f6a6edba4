"""The `streamrec` command. Each command is a module of this package, imported when it is called."""

import importlib
import sys
from collections.abc import Mapping
from logging import CRITICAL
from typing import Any

import click

from streamrec.errors import StreamrecError
from streamrec.log import log_to_stderr, tell

__all__ = ["COMMANDS", "main"]

#: Command → module of this package that defines it as `command`. Help is here so that `--help` imports
#: nothing.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "bench": ("bench", "speed and memory beside peers, measured in one run"),
    "convert": ("convert", "public data set → recorded stream"),
    "demo": ("demo", "the whole loop on this machine: events, learning, Redis, live scores"),
    "doctor": ("doctor", "what is missing on this machine"),
    "evaluate": ("evaluate", "how often what users took is among the items found, on a hold-out"),
    "explain": ("explain", "one score explained: what each feature adds"),
    "inspect": ("inspect", "what a stored model holds"),
    "join": ("join", "raw events → labelled examples, exactly once"),
    "learn": ("learn", "learn continuously from a Kafka topic"),
    "models": ("models", "stored models: name generations, go back to one"),
    "record": ("record", "Kafka topic → recorded stream, in the order in which it is learned"),
    "replay": ("replay", "learn a recorded stream once, in order"),
    "schemas": ("schemas", "export the JSON Schemas of all events"),
    "send": ("send", "recorded stream → Kafka topic, keyed, acknowledged"),
    "services": ("services", "a local Kafka and Redis, without Docker: up, down, status"),
    "serve": ("serve", "the scoring service"),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"streamrec.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="streamrec")
def _streamrec() -> None:
    """Streaming online learning for recommendations and ads."""


def main() -> None:
    """Run the command line: exit 0 on success, 2 on wrong use, 1 on failure.

    An error is one line on stderr.
    """
    try:
        log_to_stderr()
        code = _streamrec.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
        tell("streamrec: interrupted", CRITICAL)
    except click.ClickException as error:
        code = 2
        tell(f"streamrec: {error.format_message()}", CRITICAL)
    except StreamrecError as error:
        code = error.exit_code
        tell(f"streamrec: {error}", CRITICAL)
    except BrokenPipeError:
        code = 1
    except MemoryError:
        code = 1
        tell("streamrec: out of memory", CRITICAL)
    sys.exit(code if isinstance(code, int) else 0)
