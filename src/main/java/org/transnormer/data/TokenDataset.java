package org.transnormer.data;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.eclipse.collections.api.list.primitive.MutableLongList;
import org.eclipse.collections.impl.factory.primitive.LongLists;
import org.transnormer.InputException;
import org.transnormer.random.Purpose;
import org.transnormer.random.RandomStream;
import org.transnormer.tensor.Tensor;
import org.transnormer.tokenizer.Tokenizer;

/**
 * Tokenised documents, in memory. A document with tokens x₀ … x₍ₙ₋₁₎ is n + 1 pairs: what the model reads, and what it
 * should say next. SPEC section 6.4.
 *
 * <pre>
 * input   bos  x₀  x₁ … x₍ₙ₋₁₎
 * target  x₀   x₁  …  x₍ₙ₋₁₎  eos
 * </pre>
 *
 * So every token is predicted, the first from {@code bos} alone, and so is the end. Immutable; datasets made by
 * splitting share their tokens.
 */
public final class TokenDataset {
    /** A dataset, and what reading it came to. */
    public record Loaded(TokenDataset data, ReadReport report) {
    }

    /** The two sides of a split. */
    public record Split(TokenDataset train, TokenDataset heldOut) {
    }

    private final Tokenizer tokenizer;
    private final TokenStore store;
    private final List<String> ids;
    private final long[] starts;
    private final long[] lengths;
    private final long[] firstPairs;
    private final long bytes;
    private final String digest;

    private TokenDataset(Tokenizer tokenizer, TokenStore store, List<String> ids, long[] starts, long[] lengths) {
        this.tokenizer = tokenizer;
        this.store = store;
        this.ids = List.copyOf(ids);
        this.starts = starts;
        this.lengths = lengths;
        firstPairs = new long[starts.length + 1];
        MessageDigest sha = sha256();
        ByteBuffer block = ByteBuffer.allocate(1 << 14).order(ByteOrder.LITTLE_ENDIAN);
        long byteCount = 0;
        for (int d = 0; d < starts.length; d++) {
            firstPairs[d + 1] = firstPairs[d] + lengths[d] + 1;
            flushIfFull(sha, block).putLong(lengths[d]);
            for (long i = starts[d]; i < starts[d] + lengths[d]; i++) {
                int token = store.get(i);
                byteCount += tokenizer.byteCount(token);
                flushIfFull(sha, block).putInt(token);
            }
        }
        sha.update(block.flip());
        bytes = byteCount;
        digest = HexFormat.of().formatHex(sha.digest());
    }

    /**
     * Reads and tokenises text files and folders.
     *
     * @throws InputException as {@link TextSources#read} does
     */
    public static Loaded read(Tokenizer tokenizer, List<Path> paths) {
        Builder builder = new Builder(tokenizer);
        ReadReport report = TextSources.read(paths, builder);
        return new Loaded(builder.build(), report);
    }

    /** Documents, kept in their order. */
    public static TokenDataset of(Tokenizer tokenizer, Iterable<Document> documents) {
        Builder builder = new Builder(tokenizer);
        documents.forEach(builder);
        return builder.build();
    }

    public Tokenizer tokenizer() {
        return tokenizer;
    }

    public int documents() {
        return starts.length;
    }

    public String id(int document) {
        return ids.get(document);
    }

    /** Tokens of text: without bos and eos. */
    public long tokens() {
        return pairs() - documents();
    }

    /** (input, target) pairs altogether: tokens() + documents(). */
    public long pairs() {
        return firstPairs[starts.length];
    }

    /** Pairs of one document. */
    public long pairs(int document) {
        return lengths[document] + 1;
    }

    /**
     * Bytes of text that the targets stand for; eos stands for none. Bits per byte of a total loss in nats over all
     * pairs is loss / (ln 2 · bytes()).
     */
    public long bytes() {
        return bytes;
    }

    /**
     * SHA-256, in hex, over the documents in order: number of tokens (8 bytes), then each token (4 bytes),
     * little-endian. Equal digests and equal loader settings give equal batches.
     */
    public String digest() {
        return digest;
    }

    /** {@link #split(double, long, long)} without a limit. */
    public Split split(double fraction, long seed) {
        return split(fraction, Long.MAX_VALUE, seed);
    }

    /**
     * Sets a share of the documents aside: round(fraction · documents) of them, at least one and not all. Which ones
     * follows from seed and document ids alone, so it does not depend on where the data lie, and new documents displace
     * few. A single document is cut instead: the last round(fraction · tokens) of its tokens are held out. Order is
     * kept.
     *
     * @param fraction between 0 and 1, neither included
     * @param most tokens that are held out, at least 1: the choice ends before the document that would exceed it, the
     * first one excepted
     * @throws InputException if there is just one token
     */
    public Split split(double fraction, long most, long seed) {
        if (most < 1) {
            throw new IllegalArgumentException("at least 1 token is held out, not " + most);
        }
        if (!(fraction > 0 && fraction < 1)) {
            throw new IllegalArgumentException("the held-out fraction lies between 0 and 1, not " + fraction);
        }
        if (documents() == 1) {
            return cut(fraction, most);
        }
        int count = (int) share(fraction, documents());
        long[] keys = ids.stream().mapToLong(id -> new RandomStream(seed, Purpose.SHUFFLE, "split " + id).bits(0))
                .toArray();
        boolean[] held = new boolean[documents()];
        long tokens = 0;
        for (int d : IntStream.range(0, documents()).boxed()
                .sorted(Comparator.comparingLong((Integer d) -> keys[d] ^ Long.MIN_VALUE).thenComparing(d -> d))
                .limit(count).toList()) {
            if (tokens > 0 && lengths[d] > most - tokens) {
                break;
            }
            held[d] = true;
            tokens += lengths[d];
        }
        return new Split(select(held, false), select(held, true));
    }

    /** Document that holds a pair, where the documents' pairs are numbered through. */
    int documentOf(long pair) {
        int at = Arrays.binarySearch(firstPairs, pair);
        return at >= 0 ? at : -at - 2;
    }

    /** Number of a document's first pair. */
    long firstPair(int document) {
        return firstPairs[document];
    }

    /** Fewest pairs of a document. */
    long shortest() {
        return Arrays.stream(lengths).min().orElseThrow() + 1;
    }

    /** Writes pairs [from, from + count) of a document to ids and targets, from element {@code at} on. */
    void copy(int document, long from, long count, Tensor inputs, Tensor targets, long at) {
        long first = starts[document];
        long last = lengths[document];
        for (long i = 0; i < count; i++) {
            long pair = from + i;
            inputs.setInt(at + i, pair == 0 ? tokenizer.bosId() : store.get(first + pair - 1));
            targets.setInt(at + i, pair == last ? tokenizer.eosId() : store.get(first + pair));
        }
    }

    private Split cut(double fraction, long most) {
        if (tokens() < 2) {
            throw new InputException(id(0), "a single document of one token cannot be split",
                    "give more text, or held-out files of their own");
        }
        long tail = Math.min(most, share(fraction, tokens()));
        long head = tokens() - tail;
        return new Split(new TokenDataset(tokenizer, store, ids, starts, new long[] {head}),
                new TokenDataset(tokenizer, store, ids, new long[] {starts[0] + head}, new long[] {tail}));
    }

    private TokenDataset select(boolean[] held, boolean side) {
        int[] chosen = IntStream.range(0, held.length).filter(d -> held[d] == side).toArray();
        return new TokenDataset(tokenizer, store, Arrays.stream(chosen).mapToObj(ids::get).toList(),
                Arrays.stream(chosen).mapToLong(d -> starts[d]).toArray(),
                Arrays.stream(chosen).mapToLong(d -> lengths[d]).toArray());
    }

    private static long share(double fraction, long total) {
        return Math.clamp(Math.round(fraction * total), 1, total - 1);
    }

    private static ByteBuffer flushIfFull(MessageDigest sha, ByteBuffer block) {
        if (block.remaining() < Long.BYTES) {
            sha.update(block.flip());
            block.clear();
        }
        return block;
    }

    static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has SHA-256", e);
        }
    }

    private static final class Builder implements Consumer<Document> {
        private final Tokenizer tokenizer;
        private final TokenStore store;
        private final List<String> ids = new ArrayList<>();
        private final MutableLongList starts = LongLists.mutable.empty();
        private final MutableLongList lengths = LongLists.mutable.empty();

        Builder(Tokenizer tokenizer) {
            this.tokenizer = tokenizer;
            store = new TokenStore(tokenizer.vocabularySize());
        }

        @Override
        public void accept(Document document) {
            long start = store.size();
            tokenizer.encode(document.bytes(), store::add);
            ids.add(document.id());
            starts.add(start);
            lengths.add(store.size() - start);
        }

        TokenDataset build() {
            if (ids.isEmpty()) {
                throw new InputException("data", "there is no document", "give text files or folders");
            }
            return new TokenDataset(tokenizer, store, ids, starts.toArray(), lengths.toArray());
        }
    }
}
