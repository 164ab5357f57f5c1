"""What every end-to-end test needs: the program, a home of its own, the tiny real model, the larger ones where they are."""

import os
import pathlib
import subprocess

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("HADAL_PROGRAM", str(TESTS.parent / "build/release/hadal"))
TINY = TESTS / "data/models/stories260K.gguf"
MODELS = pathlib.Path(os.environ.get("HADAL_TEST_MODELS", TESTS.parent / "build/models"))

# Good manners of a test: no sentence of this sort may reach a person.
CRASH_WORDS = ("internal error", "terminate called", "Segmentation", "core dumped", "AddressSanitizer")


class Hadal:
    """Runs the program in a home of its own."""

    def __init__(self, home):
        self.home = home
        kept = ["HADAL_INSTRUCTION_SET"]  # each is tried in turn by whoever starts the tests
        hubs = ("HADAL_", "HF_", "MODELSCOPE_", "HUGGING")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(hubs) or k in kept}
        # One thread: tests run beside each other, and a thread that waits for its turn holds up the others.
        # No test meets a hub but those with one of their own (local_hub.py).
        self.environment.update(HADAL_HOME=str(home), LC_ALL="C.UTF-8", HADAL_THREADS="1", HF_HOME=f"{home}/hf", HF_HUB_OFFLINE="1",
                                MODELSCOPE_CACHE=f"{home}/modelscope")

    def __call__(self, *arguments, stdin=b"", timeout=120, program=PROGRAM, **options):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        done = subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout,
                              env=self.environment, **options)
        text = done.stderr.decode(errors="replace")
        assert done.returncode >= 0, f"ended by signal {-done.returncode}: {arguments}\n{text}"
        assert not any(word in text for word in CRASH_WORDS), text
        return done

    def fails(self, *arguments, status=1, says=(), **options):
        """Runs what must fail: its exit status, and what its sentence must say."""
        done = self(*arguments, **options)
        text = done.stderr.decode()
        assert done.returncode == status, (arguments, done.returncode, text)
        assert "\nhadal: " in "\n" + text, text
        for word in [says] if isinstance(says, str) else says:
            assert word in text, (word, text)
        return text


@pytest.fixture
def hadal(tmp_path):
    return Hadal(tmp_path / "home")


def real_model(name):
    path = MODELS / f"{name}.gguf"
    if not path.exists():
        pytest.skip(f"{path} is not there (scripts/fetch-model {name} {MODELS})")
    return path
