"""The `mlxr` command as a whole: its groups of verbs, and how failures end it.

Exit codes: 0 done, 1 failure, 2 a call that makes no sense, 130 interrupted, 141 the reader of our output went away.
Not here: the verbs.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from registry.errors import RegistryError
from router.cli.client.errors import ClientError
from router.cli.terminal.context import CommandError
from router.cli.terminal.output import shown
from router.cli.terminal.verbs import Group, LazyVerb, OpenGroup
from router.errors import RouterError
from router.version import VERSION

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


@click.pass_context
def _root(context: click.Context, version: bool) -> int | None:
    """Do what `mlxr` means without a verb."""
    if version:
        print(f"mlxr {VERSION}")
        context.exit()
    if context.invoked_subcommand is None:
        print(context.get_help())
        return EXIT_USAGE
    return None


ROOT: Final = Group(
    "A local LLM server with two engines, MLX and llama.cpp, behind one model name.",
    {
        "serve": "serve:serve",
        "ui": "ui:ui",
        "run": "asking.run:run",
        "report": "asking.report:report",
        "launch": "launch.launch:launch",
        "mcp": "mcp.mcp:mcp",
        "engine": "engine:engine",
        "logs": "logs.reading:logs",
        "ps": "processes:list_workers",
        "stop": "processes:stop",
        "stress": "stress:stress",
        "suspend": "suspension:suspend",
        "resume": "suspension:resume",
        "doctor": "doctor.doctor:doctor",
        "models": Group(
            "Get, list, show, find, add and remove models.",
            {
                "scan": "models.catalogue:scan",
                "add": "models.catalogue:add",
                "link": "models.catalogue:link",
                "unlink": "models.catalogue:unlink",
                "list": "models.listing:list_models",
                "show": "models.show:show",
                "create": "models.create:create",
                "pull": "pulling.pull:pull",
                "search": "pulling.search:search",
                "set": "models.settings:set_values",
                "alias": "models.catalogue:alias",
                "rm": "models.removal:remove",
                "move": "models.move:move",
                "fit": "models.fit:fit",
                "convert": "models.convert:convert",
                "verify": "models.verify:verify",
                "adapters": "models.adapters:list_adapters",
                "pulls": Group(
                    "List, pause, resume and cancel pulls of models.",
                    {
                        "list": "pulling.pulls:list_pulls",
                        "pause": "pulling.pulls:pause",
                        "cancel": "pulling.pulls:cancel",
                        "resume": "pulling.pulls:resume",
                        "clean": "pulling.pulls:clean",
                    },
                    default="list",
                    epilog="Examples: `mlxr models pulls`, `mlxr models pulls pause 3`.",
                ),
                "settings": Group(
                    "Write all models' settings to a YAML file, or read them from one.",
                    {
                        "export": "models.settings:export_settings",
                        "import": "models.settings:import_settings",
                    },
                ),
                "adapter": Group(
                    "Add and remove LoRA adapters of a model.",
                    {"add": "models.adapters:add", "rm": "models.adapters:remove"},
                ),
            },
        ),
        "hosts": Group(
            "Check the machines that a model is spread over (experimental).",
            {"check": "hosts:check"},
            epilog="Examples: `mlxr hosts check`, `mlxr hosts check glm-4.6`.",
        ),
        "keys": Group(
            "Make API keys, list them with what they used, and end them.",
            {
                "create": "keys:create",
                "list": "keys:list_keys",
                "revoke": "keys:revoke",
                "forget": "keys:forget",
                "usage": "keys:usage",
                "sessions": "sessions:list_sessions",
                "end": "sessions:end",
            },
            default="list",
            epilog="Examples: `mlxr keys create laptop`, `mlxr keys`, `mlxr keys usage`.",
        ),
        "cache": Group(
            "See the caches of prompts that are saved on the disk, and delete them.",
            {"list": "cache:list_caches", "clear": "cache:clear_caches"},
            default="list",
            epilog="Examples: `mlxr cache`, `mlxr cache clear`.",
        ),
        "context": "contexts:context",
        "conversations": Group(
            "List the conversations that the server keeps, and delete them.",
            {"list": "contexts:list_conversations", "rm": "contexts:remove"},
            default="list",
            epilog="Examples: `mlxr conversations`, `mlxr conversations rm ID`, `mlxr conversations rm --all`.",
        ),
        "requests": Group(
            "List the requests that run or wait, and cancel one.",
            {"list": "requests:list_requests", "cancel": "requests:cancel"},
            default="list",
            epilog="Examples: `mlxr requests`, `mlxr requests cancel ID`.",
        ),
        "batch": Group(
            "Answer files of requests as background work.",
            {"run": "batch:run", "list": "batch:list_batches", "show": "batch:show", "cancel": "batch:cancel"},
            epilog="Examples: `mlxr batch run questions.jsonl`, `mlxr batch list`.",
        ),
        "bench": OpenGroup(
            "Measure the two engines on the same model, and look at what was measured before.",
            {
                "run": "bench.run:run",
                "history": "bench.report:history",
                "show": "bench.report:show",
                "diff": "bench.report:diff",
                "delete": "bench.report:delete",
            },
            subcommand_metavar="MODEL [OPTIONS] | COMMAND [ARGS]...",
            epilog="Examples: `mlxr bench smollm2-135m-instruct`, `mlxr bench history smollm2-135m-instruct`.",
        ),
        "scenario": Group(
            "Run small programs that show what the router does, and check that it did.",
            {"list": "scenario:list_scenarios", "run": "scenario:run"},
            epilog="Examples: `mlxr scenario list`, `mlxr scenario run burst --workers 3`.",
        ),
        "registry": Group(
            "Copy the catalogue of models, and put a copy back.",
            {"backup": "registry:backup", "restore": "registry:restore", "backups": "registry:backups"},
            epilog="Examples: `mlxr registry backup`, `mlxr registry restore FILE`.",
        ),
        "service": Group(
            "Run the server as a service of yours: systemd on Linux, launchd on macOS.",
            {
                "install": "service.verbs:install",
                "uninstall": "service.verbs:uninstall",
                "start": "service.verbs:start",
                "stop": "service.verbs:stop",
                "restart": "service.verbs:restart",
                "status": "service.verbs:status",
                "logs": "service.verbs:logs",
            },
            epilog="Examples: `mlxr service install`, `mlxr service status`.",
        ),
        "config": Group(
            "Show, set, check and find the config.",
            {
                "show": "config:show",
                "set": "config:set_keys",
                "check": "config:check",
                "path": "config:path",
                "schema": LazyVerb("schema", "config:schema", is_hidden=True),
            },
        ),
    },
    epilog="Start with `mlxr doctor`, then `mlxr serve`, and in another terminal `mlxr run MODEL`.",
    params=[click.Option(["--version"], is_flag=True, help="Print the version and exit.")],
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    callback=_root,
    invoke_without_command=True,
    no_args_is_help=False,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on arguments without the program's name; None = the process's own."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 shows escapes, no traceback
    try:
        with ROOT.make_context("mlxr", list(sys.argv[1:] if argv is None else argv)) as context:
            exit_code = ROOT.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _end_quietly()
    except (click.ClickException, CommandError, ClientError, RegistryError, RouterError, OSError) as exc:
        return _complain(exc)
    return exit_code or 0


def _complain(error: Exception) -> int:
    """Print an error as one sentence; give the exit code."""
    if isinstance(error, click.ClickException):
        message = error.format_message()
    elif isinstance(error, OSError):
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    else:
        message = str(error)
    with contextlib.suppress(BrokenPipeError):
        if isinstance(error, click.exceptions.NoArgsIsHelpError):  # a group without a verb: its help, as it is
            print(message, file=sys.stderr, flush=True)
            return EXIT_USAGE
        print("mlxr:", " ".join(shown(part) for part in message.split()), file=sys.stderr, flush=True)
    return int(getattr(error, "exit_code", EXIT_FAILURE))


def _end_quietly() -> int:
    """Point stdout at nothing, so that Python's own flush at exit does not complain about the pipe again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE
