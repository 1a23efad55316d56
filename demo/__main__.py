"""The command: set the stage, play the story, say how it ended."""

import asyncio
import signal
import sys
from pathlib import Path

from demo import stage, story

INTERRUPTED = 130


def main() -> int:
    """0 only if each step was checked."""
    for ending in stage.ENDINGS:
        signal.signal(ending, signal.default_int_handler)
    stage.enter_namespace()
    with stage.directory() as directory:
        try:
            asyncio.run(story.play(story.Story(directory)))
        except KeyboardInterrupt:
            print("demo: interrupted; everything was taken down", file=sys.stderr)
            return INTERRUPTED
        except (story.StepFailed, TimeoutError) as error:
            print(f"demo: FAILED: {error or 'a step took too long'}", file=sys.stderr)
            show_logs(directory)
            return 1
    print("demo: every step was checked")
    return 0


def show_logs(directory: Path) -> None:
    """What the processes said, for whoever has to find out why."""
    for path in sorted(directory.glob("*.log")):
        print(f"--- {path.name}", path.read_text()[-4000:], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
