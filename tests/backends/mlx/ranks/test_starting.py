"""The command lines by which ranks are started."""

import shlex
import sys

from backends.mlx.ranks.starting import MODULE, rank_argv
from backends.ssh import ssh_argv
from backends.wire.load import RankHost


def test_a_local_rank_is_a_process_of_this_python() -> None:
    assert rank_argv(RankHost()) == [sys.executable, "-P", "-m", MODULE]


def test_a_remote_rank_is_started_by_ssh_without_questions_or_forwarding() -> None:
    argv = rank_argv(RankHost(ssh="mac2", address="10.0.0.2"))
    assert argv[0] == "ssh"
    assert "BatchMode=yes" in argv
    assert "ClearAllForwardings=yes" in argv
    assert argv[-3:-1] == ["--", "mac2"]
    assert shlex.split(argv[-1]) == [sys.executable, "-P", "-m", MODULE]


def test_what_goes_to_the_other_shell_is_quoted() -> None:
    assert shlex.split(ssh_argv("mac2", ["/a b/python", "$(x)"])[-1]) == ["/a b/python", "$(x)"]
