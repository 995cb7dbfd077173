package org.transnormer.data;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.eclipse.collections.api.block.procedure.primitive.IntProcedure;
import org.eclipse.collections.api.list.primitive.IntList;
import org.transnormer.tokenizer.TokenDecoder;
import org.transnormer.tokenizer.Tokenizer;

/** Four bytes are one token, so that a test can give every token of a dataset an id of its own. */
final class WideTokenizer implements Tokenizer {
    static final int BOS = 1;
    static final int EOS = 2;
    static final int PAD = 0;
    static final int FIRST = 100_000;

    /** Documents whose tokens are numbered through from FIRST. */
    static List<Document> documents(long seed, int count, int longest) {
        SplittableRandom random = new SplittableRandom(seed);
        int[] next = {FIRST};
        return IntStream.range(0, count).mapToObj(d -> {
            ByteBuffer bytes = ByteBuffer.allocate(4 * random.nextInt(1, longest + 1));
            while (bytes.hasRemaining()) {
                bytes.putInt(next[0]++);
            }
            return new Document("document " + d, bytes.array());
        }).toList();
    }

    @Override
    public String name() {
        return "wide";
    }

    @Override
    public int vocabularySize() {
        return Integer.MAX_VALUE;
    }

    @Override
    public int padId() {
        return PAD;
    }

    @Override
    public int bosId() {
        return BOS;
    }

    @Override
    public int eosId() {
        return EOS;
    }

    @Override
    public IntList encode(String text) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void encode(byte[] utf8, IntProcedure sink) {
        for (ByteBuffer in = ByteBuffer.wrap(utf8); in.hasRemaining();) {
            sink.value(in.getInt());
        }
    }

    @Override
    public int byteCount(int id) {
        return id < FIRST ? 0 : 4;
    }

    @Override
    public TokenDecoder decoder() {
        throw new UnsupportedOperationException();
    }

    @Override
    public void save(Path modelFolder) {
        throw new UnsupportedOperationException();
    }
}
