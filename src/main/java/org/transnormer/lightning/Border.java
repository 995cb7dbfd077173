package org.transnormer.lightning;

/**
 * The slots of sequences that go on over an end of a rank's part of some rows: by them a state comes from the rank that
 * holds the part before, and goes to the one that holds the part behind. SPEC section 7.5.
 *
 * <p>In a row at most one sequence comes in, its first, and at most one goes out, its last; they may be the same. Where
 * there is a part on one side only, row b has slot b. Between two parts there are three slots for a row, since of two
 * sequences of one row the first must not be seen behind it, nor the last before: b of one that comes in and goes out, B + b
 * of one that only comes in, 2 B + b of one that only goes out.
 *
 * @param rows B, rows of a micro-batch of this rank
 * @param part which part of them it holds, 0 to parts - 1
 * @param parts ranks that hold parts of the same rows
 */
public record Border(int rows, int part, int parts) {

    public Border {
        if (rows < 1 || part < 0 || part >= parts) {
            throw new IllegalArgumentException("there is no part %d of %d of %d rows".formatted(part, parts, rows));
        }
    }

    /** Of rows that one rank holds whole. */
    public static Border none(int rows) {
        return new Border(rows, 0, 1);
    }

    /** Whether there is a part before. */
    public boolean before() {
        return part > 0;
    }

    /** Whether there is a part behind. */
    public boolean behind() {
        return part < parts - 1;
    }

    /** Whether there are parts on both sides. */
    public boolean between() {
        return before() && behind();
    }

    /** Slots there are; 0 where rows are whole. */
    public int slots() {
        return parts == 1 ? 0 : between() ? Math.multiplyExact(3, rows) : rows;
    }

    /**
     * The slot of a sequence.
     *
     * @param row that it belongs to
     * @param in whether it began in a part before
     * @param out whether it goes on in a part behind
     */
    public int slot(int row, boolean in, boolean out) {
        if (in && !before() || out && !behind()) {
            throw new IllegalArgumentException("a sequence of part %d of %d comes in: %b, goes out: %b".formatted(part,
                    parts, in, out));
        }
        if (!in && !out) {
            return Sequences.NO_SLOT;
        }
        return !between() || in && out ? row : in ? rows + row : 2 * rows + row;
    }

    /** The row of a slot of {@link #slot}. */
    public int row(int slot) {
        return slot % rows;
    }

    /** Whether the sequence of a slot comes in, and ends in a part that has another behind it. */
    public boolean onlyIn(int slot) {
        return slot >= rows && slot < 2 * rows;
    }

    /** Whether the sequence of a slot goes out, and began in a part that has another before it. */
    public boolean onlyOut(int slot) {
        return slot >= 2 * rows;
    }
}
