package org.transnormer.data;

import java.util.ArrayList;
import java.util.List;

/** An append-only list of tokens with 64-bit indices, two bytes each where the vocabulary allows it. */
final class TokenStore {
    private static final int CHUNK_BITS = 20;
    private static final int CHUNK = 1 << CHUNK_BITS;

    private final boolean narrow;
    private final List<char[]> narrowChunks = new ArrayList<>();
    private final List<int[]> wideChunks = new ArrayList<>();
    private long size;

    TokenStore(int vocabularySize) {
        narrow = vocabularySize <= Character.MAX_VALUE + 1;
    }

    long size() {
        return size;
    }

    void add(int token) {
        int chunk = (int) (size >>> CHUNK_BITS);
        int at = (int) size & CHUNK - 1;
        if (at == 0) {
            if (narrow) {
                narrowChunks.add(new char[CHUNK]);
            } else {
                wideChunks.add(new int[CHUNK]);
            }
        }
        if (narrow) {
            narrowChunks.get(chunk)[at] = (char) token;
        } else {
            wideChunks.get(chunk)[at] = token;
        }
        size++;
    }

    int get(long i) {
        int chunk = (int) (i >>> CHUNK_BITS);
        int at = (int) i & CHUNK - 1;
        return narrow ? narrowChunks.get(chunk)[at] : wideChunks.get(chunk)[at];
    }
}
