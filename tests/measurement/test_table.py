from kit.measurement import table

HEADER, ROWS = ["", "bytes"], [["dense", "471,000"], ["a <b> & c", "1"]]


def test_numbers_are_aligned_to_the_right():
    assert table.text(HEADER, ROWS).splitlines() == [
        "             bytes",
        "dense      471,000",
        "a <b> & c        1",
    ]


def test_cells_are_escaped_and_headed():
    html = table.html("sizes & names", HEADER, ROWS)
    assert "a &lt;b&gt; &amp; c" in html
    assert "sizes &amp; names" in html
    assert html.count('scope="row"') == 2
    assert html.count('scope="col"') == 2
