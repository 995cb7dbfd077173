package org.transnormer.data;

/**
 * One text, apart from all others: no sequence crosses from one into the next.
 *
 * @param id where it came from, independent of where the data folder lies; chooses the side of a split
 * @param bytes the text, in UTF-8 unless the source was malformed; not copied
 */
public record Document(String id, byte[] bytes) {
}
