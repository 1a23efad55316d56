"""Parsing the kernel's mount table."""

from driver.volume import mountinfo
from driver.volume.mountinfo import Entry


def test_entries_of_a_mount_table() -> None:
    """Optional fields, octal escapes and bytes that are not UTF-8 are parsed; malformed lines are skipped."""
    text = (
        b"36 35 98:0 / /mnt/a\\040b\\134c\\011 rw,noatime shared:1 master:2 - tmpfs tmpfs rw\n"
        b"37 35 0:5 /part /mnt/\xff rw - ext4 /dev/sda1 rw,errors=continue\n"
        b"nonsense\n"
    )
    assert list(mountinfo.parse(text)) == [
        Entry("36", "/", "/mnt/a b\\c\t", ("rw", "noatime"), True, "tmpfs", ("rw",)),
        Entry("37", "/part", "/mnt/\udcff", ("rw",), False, "ext4", ("rw", "errors=continue")),
    ]
