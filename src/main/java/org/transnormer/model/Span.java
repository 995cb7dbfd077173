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
        long first = Math.max(from, other.from);
        return new Span(first, Math.max(first, Math.min(to, other.to)));
    }

    /** The same elements counted from {@code origin} on. */
    public Span from(long origin) {
        return new Span(from - origin, to - origin);
    }

    /** The n-th of some nearly equal ranges that these elements are cut into. */
    Span part(long n, long parts) {
        return new Span(from + size() * n / parts, from + size() * (n + 1) / parts);
    }

    /** These elements of a flat tensor. */
    public Tensor of(Tensor flat) {
        return flat.slice(0, from, to);
    }
}
