"""`python -m revbench.docs.generator FOLDER` writes the sources of the site, generated pages included."""

import sys
from pathlib import Path

from revbench.docs.generator.pages import generated_pages, written_files


def main(folder: Path) -> None:
    """Writes all pages; files of an earlier build that are pages no more are removed."""
    pages = dict(written_files()) | {path: text.encode() for path, text in generated_pages().items()}
    for old in folder.rglob("*"):
        if old.is_file() and old.relative_to(folder).as_posix() not in pages:
            old.unlink()
    for path, content in pages.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    print(f"{len(pages)} files in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m revbench.docs.generator FOLDER")
    main(Path(sys.argv[1]))
