"""What `help` shows of the package: where a reader begins who has no pages at hand."""

import inspect
import pydoc
import textwrap

import inmem


def test_the_example_of_the_package_runs_and_can_be_run_again(tmp_path, monkeypatch, capsys):
    example = textwrap.dedent(inmem.__doc__.partition("\n\n")[2].partition("\n\nEverything ")[0])
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        exec(compile(example, "inmem.__doc__", "exec"), {})
        assert capsys.readouterr().out == "{'fly to': 'OSL', 'budget': 250} 1\n"


def test_the_package_names_what_it_has():
    for name in ("db.kv", "db.events", "db.cells", "db.traces", "db.runs"):
        assert f"    {name} " in inmem.__doc__


def test_every_public_class_is_shown_under_its_public_name():
    for name in inmem.__all__:
        kind = getattr(inmem, name)
        if inspect.isclass(kind):
            assert kind.__qualname__ == name
    shown = pydoc.render_doc(inmem.Transaction, renderer=pydoc.plaintext)
    assert "\nclass Transaction(BaseTransaction)\n" in shown
