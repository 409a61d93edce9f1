"""Specs and settings made to break their reader: each is a typed error of one short paragraph, within a second."""

import time

import pytest

from neuromvm.errors import LONGEST_PART, SpecError, shortened
from neuromvm.specs import load_data_spec
from neuromvm.specs.yaml_values import LARGEST_TEXT, read_yaml

GOOD = "name: x\nroot: /tmp\nfiles: [a.nwb]\ngrid: {kind: time, align: start_time, window: [0, 2], bin_width: 0.5}\n"
LONGEST_MESSAGE = 4 * LONGEST_PART


def aliases(merge: bool = False) -> str:
    """Return nested lists or mappings in which aliases unfold to ten million values."""
    text = "&b0 {a: 1}" if merge else "&b0 [x,x,x,x,x,x,x,x,x,x]"
    for level in range(1, 8):
        names = ",".join([f"*b{level - 1}"] * 9)
        text = f"&b{level} {{k{level}: {text}, <<: [{names}]}}" if merge else f"&b{level} [{text},{names}]"
    return text


HOSTILE = {
    "a date that does not exist": ("description: 2001-99-99", "month must be"),
    "a date in place of text": ("description: 2001-09-09", "description: a date"),
    "a time in place of text": ("description: 2001-12-14t21:59:43.10-05:00", "description: a datetime"),
    "a number that is none": ("min_units: !!int abc", "invalid literal"),
    "thousands of digits": ("min_units: " + "9" * 5000, "a number of 5000 characters"),
    "thousands of hexadecimal digits": ("min_units: 0x" + "f" * 5000, "a number of 5002 characters"),
    "deep lists": ("exclude: " + "[" * 20000 + "]" * 20000, "too deep"),
    "deep mappings": ("rename: " + "{a: " * 300 + "1" + "}" * 300, "too deep"),
    "deep lists of dashes": ("exclude:\n" + "- " * 3000 + "a", "too deep"),
    "deep indentation": ("rename:\n" + "\n".join(" " * (row + 1) + "a:" for row in range(400)), "too deep"),
    "aliases": ("description: " + aliases(), "unfold"),
    "merged aliases": ("description: " + aliases(merge=True), "unfold"),
    "an alias inside of itself": ("exclude: &a [*a]", "inside of what it names"),
    "an alias of nothing": ("description: *nothing", "undefined alias"),
    "a set": ("exclude: !!set {a, b}", "exclude: a set"),
    "binary data": ("description: !!binary aGVsbG8=", "description: a bytes"),
    "pairs": ("rename: !!pairs [a: b]", "rename: a tuple"),
    "a python object": ("description: !!python/object/apply:os.system [touch CANARY]", "could not determine a constructor"),
    "an unknown tag": ("description: !foo bar", "could not determine a constructor"),
    "a key twice": ("name: y", "duplicate key"),
    "a list as key": ("? [a, b]\n: 3", "a key that is a tuple"),
    "a mapping as key": ("? {a: b}\n: 3", "unhashable key"),
    "no key": (": 3", "Keys should be strings"),
    "a NUL byte": ("description: a\0b", "unacceptable character"),
    "two documents": ("---\na: 1", "single document"),
    "too much text": ("description: " + "x" * LARGEST_TEXT, "bytes"),
    "a very long key": ("x" * 100_000 + ": 3", "not valid YAML"),
    "a very long unknown setting": ("x" * 900 + ": 3", "unknown setting"),
    "many commas": ("exclude: [" + "a," * 30_000 + "a]", "commas"),
    "control characters": ('name2: "\\e[31m\\a"', "unknown setting"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_spec_is_refused_at_once_in_one_short_paragraph(tmp_path, monkeypatch, name):
    line, words = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "s.yaml"
    file.write_text(GOOD + line + "\n")
    begin = time.process_time()
    with pytest.raises(SpecError) as caught:
        load_data_spec(str(file))
    message = str(caught.value)
    assert words in message
    assert str(file) in message
    assert len(message) < LONGEST_MESSAGE
    assert message.isprintable()
    assert time.process_time() - begin < 3
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("min_units=2001-99-99", "month must be"),
        ("min_units=2001-01-01", "a date"),
        ("exclude=" + "[" * 3000, "too deep"),
        ("min_units=" + "1" * 5000, "a number of 5000"),
        ("name=!!set {a}", "a set"),
        ("a" * 100_000 + "=3", "unknown setting"),
        (".".join("a" * 3000) + "=3", "groups inside one another"),
        ("grid.kind.x=3", "a value, not a group"),
        ("=3", "no 'a.b=value'"),
        ("x=\0", "unacceptable character"),
        ("exclude=" + aliases(), "unfold"),
    ],
)
def test_a_hostile_setting_is_refused_in_one_short_paragraph(override, words):
    with pytest.raises(SpecError) as caught:
        load_data_spec("simulated_rats", [override])
    assert words in str(caught.value)
    assert len(str(caught.value)) < LONGEST_MESSAGE
    assert str(caught.value).isprintable()


def test_ordinary_yaml_is_read_and_aliases_are_copies():
    values = read_yaml("a: &x {b: [1, 2.5, true, null, text]}\nc: *x\nd: {<<: *x, e: 1}\n", "here")
    assert values == {"a": {"b": [1, 2.5, True, None, "text"]}, "c": values["a"], "d": {"b": values["a"]["b"], "e": 1}}
    values["a"]["b"].append(3)
    assert len(values["c"]["b"]) == 5


def test_messages_keep_both_ends_of_a_long_value():
    text = shortened("begin" + "x" * 10_000 + "end\n\x1b[31m\u202e.")
    assert text.startswith("begin")
    assert text.endswith("end [31m .")
    assert len(text) <= LONGEST_PART
