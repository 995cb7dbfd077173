package org.transnormer.model;

import org.transnormer.tensor.Tensor;

/** Elements {@code from} (inclusive) to {@code to} (exclusive) of a flat buffer. */
public record Span(long from, long to) {

    /** Number of elements. */
    public long size() {
        return to - from;
    }

    public boolean isEmpty() {
        return to <= from;
    }

    /** The elements of both; empty where there are none. */
    public Span and(Span other) {
        return new Span(Math.max(from, other.from), Math.min(to, other.to));
    }

    /** The same elements counted from {@code origin} on. */
    public Span from(long origin) {
        return new Span(from - origin, to - origin);
    }

    /** These elements of a flat tensor. */
    public Tensor of(Tensor flat) {
        return flat.slice(0, from, to);
    }
}
