# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read where Xen is below: whether this is its control domain (dom0), and then what Xen says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from l1dflush.host.reading.cpu import UNNAMED
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import NO_FILE, HostFiles, UnreadableError, decoded
from l1dflush.host.reading.host_facts import XenSays
from l1dflush.host.reading.text import first_known, read_fact, text_fact, understood

TYPE = "/sys/hypervisor/type"
XL_DMESG, XL_INFO = "dmesg", "info"

_CAPABILITIES = "/proc/xen/capabilities"
_FEATURES = "/sys/hypervisor/properties/features"
UUID = "/sys/hypervisor/uuid"
_GUEST_TYPE = "/sys/hypervisor/guest_type"
_PRODUCT = "/sys/class/dmi/id/product_name"
_DOM0 = 11
"""Bit of ``features``: XENFEAT_dom0 in public/features.h of Xen (ec029aaa9a, so 4.2), of the control domain alone."""
_PLACEHOLDER = "placeholder"
"""First on the command line of a kernel that GRUB loaded behind Xen: of no guest."""
_LINE = re.compile(r"(?:\[[^\]]{0,40}\]\s*)?\(XEN\)\s*(?:\[[^\]]{0,40}\]\s*)?(?P<said>.*)")
_KEPT = (
    "Hardware hints:", "Hardware features:", "Xen settings:", "L1TF: believed", "PV L1TF shadowing:", "HVM: ",
    "VMX: failed", "Booted on L1TF-vulnerable",
)  # fmt: skip
_COMMAND_LINE = "Command line:"
_OPTIONS = ("smt", "no-smt", "spec-ctrl", "pv-l1tf", "hap")
_INFO = re.compile(r"threads_per_core\s*:\s*[0-9]{1,4}\s*")


def xen_says(files: HostFiles, hypervisor: Fact[str], command_line: Fact[str]) -> XenSays:
    """All of it. Xen itself is asked where this is its control domain only."""
    control = _control(files, hypervisor, command_line)
    if not control.value:
        nothing = Fact("", control.origin) if control.known else Fact[str].unknown(control.origin, control.why)
        return XenSays(control, nothing, nothing)
    return XenSays(control, _said(files, XL_DMESG, kept_log), _said(files, XL_INFO, kept_info))


def xen_lines(said: str) -> list[str]:
    """What Xen itself wrote into its log, line by line. A line of a guest begins with the guest's number, and one that
    was half overwritten has lost its beginning."""
    return [found["said"] for line in said.split("\n") if (found := _LINE.fullmatch(line.strip()))]


def kept_log(content: bytes) -> bytes:
    """Of the log what is about L1TF: the rest is nobody's business."""
    kept = []
    for line in xen_lines(content.decode(errors="replace")):
        if line.startswith(_KEPT) or line.endswith("VMX disabled by BIOS."):
            kept.append(line)
        elif line.startswith(_COMMAND_LINE):
            words = [word for word in line.split() if word.partition("=")[0] in _OPTIONS]
            kept.append(" ".join([_COMMAND_LINE, *words]))
    return "".join(f"(XEN) {line}\n" for line in kept).encode()


def kept_info(content: bytes) -> bytes:
    """The one line that matters."""
    lines = content.decode(errors="replace").split("\n")
    return "".join(f"{line.rstrip()}\n" for line in lines if _INFO.fullmatch(line)).encode()


def kept_uuid(content: bytes) -> bytes:
    """Whether it is zero: else it is the name of one guest in the world."""
    return re.sub(rb"[0-9a-fA-F]", b"f", content) if re.search(rb"[1-9a-fA-F]", content) else content


def _said(files: HostFiles, what: str, kept: Callable[[bytes], bytes]) -> Fact[str]:
    def read() -> str:
        lines = kept(files.xl(what))
        if not lines:
            raise UnreadableError("nothing in it is about L1TF")
        return decoded(lines)

    return read_fact(f"xl {what}", read)


def _control(files: HostFiles, hypervisor: Fact[str], command_line: Fact[str]) -> Fact[bool]:
    """Of a guest /proc/xen/capabilities is empty, as is a careless copy. The UUID of the control domain is zero unless
    its administrator gave it one (XEN_DOM0_UUID, c3acf04dbd, so 4.12)."""
    capabilities = text_fact(files, _CAPABILITIES).map(lambda said: "control_d" in said)
    features = understood(text_fact(files, _FEATURES), _number, "number").map(lambda bits: bool(bits >> _DOM0 & 1))
    uuid = understood(text_fact(files, UUID), _uuid, "UUID").map(lambda number: number == 0)
    said = (capabilities, features, uuid)
    if yes := next((fact for fact in said if fact.value), None):
        return yes
    if features.known:
        return features
    line = (command_line.value or "").split()
    behind_xen = line[:1] == [_PLACEHOLDER]
    below = Fact(True, command_line.origin) if behind_xen else _is_xen(files, hypervisor)
    if not below.value:
        return below
    signs = [] if behind_xen else [*([uuid] if uuid.known else []), *_of_guests(files, line, command_line.origin)]
    return signs[0] if signs else first_known(*(partial(_unread, fact) for fact in said))


def _unread(fact: Fact[bool]) -> Fact[bool]:
    return Fact.unknown(fact.origin, fact.why or "it does not say")


def _of_guests(files: HostFiles, line: list[str], origin: str) -> Iterator[Fact[bool]]:
    """What only a guest has: its disk is Xen's, or its paging and firmware are (dom0 is PV or PVH)."""
    if any(re.match(r"root=/dev/xvd[a-z]", word) for word in line):
        yield Fact(False, f"{origin}: root=/dev/xvd")
    for path, value in ((_GUEST_TYPE, "HVM"), (_PRODUCT, "HVM domU")):
        said = text_fact(files, path)
        if said.value == value:
            yield Fact(False, f"{path}: {value}")


def _is_xen(files: HostFiles, hypervisor: Fact[str]) -> Fact[bool]:
    said = text_fact(files, TYPE)
    if said.value == "xen" or hypervisor.value == "Xen" or _exists(files, "/proc/xen"):
        return Fact(True, said.origin)
    if said.known or said.why == NO_FILE:
        return Fact(False, said.origin)
    # A hypervisor that says its name is another one; a kernel that sees none may be Xen's own, long ago.
    named = hypervisor.value not in (None, "", UNNAMED)
    return Fact(False, hypervisor.origin) if named else Fact.unknown(said.origin, said.why)


def _exists(files: HostFiles, path: str) -> bool:
    try:
        return files.exists(path)
    except UnreadableError:
        return True


def _number(said: str) -> int | None:
    return int(said, 16) if re.fullmatch("(?:0x)?[0-9a-fA-F]{1,16}", said) else None


def _uuid(said: str) -> int | None:
    digits = said.replace("-", "")
    return int(digits, 16) if re.fullmatch("[0-9a-fA-F]{32}", digits) else None
