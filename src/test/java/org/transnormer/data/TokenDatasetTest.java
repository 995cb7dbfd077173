package org.transnormer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.transnormer.InputException;
import org.transnormer.tokenizer.ByteTokenizer;

class TokenDatasetTest {

    @Example
    void countsAreThoseOfTheText() {
        TokenDataset data = TokenDataset.of(new ByteTokenizer(), List.of(text("a", "xyz"), text("b", "ü")));
        assertThat(new long[] {data.documents(), data.tokens(), data.pairs(), data.bytes()}).containsExactly(2, 5, 7,
                5);
        TokenDataset wide = TokenDataset.of(new WideTokenizer(), WideTokenizer.documents(1, 5, 9));
        assertThat(wide.bytes()).isEqualTo(4 * wide.tokens());
    }

    @Example
    void theDigestIsOfTheTokensAndTheirDocuments() throws Exception {
        TokenDataset data = TokenDataset.of(new ByteTokenizer(), List.of(text("a", "A"), text("b", "BC")));
        byte[] bytes = HexFormat.of().parseHex("0100000000000000" + "44000000"
                + "0200000000000000" + "45000000" + "46000000");
        assertThat(data.digest())
                .isEqualTo(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes)));
        assertThat(TokenDataset.of(new ByteTokenizer(), List.of(text("a", "AB"), text("b", "C"))).digest())
                .isNotEqualTo(data.digest());
    }

    @Example
    void theDigestOfMuchTextIsThatOfTheSameBytesInOnePiece() throws Exception {
        String much = "0123456789".repeat(2_000);
        ByteBuffer bytes = ByteBuffer.allocate(8 + 4 * much.length())
                .order(ByteOrder.LITTLE_ENDIAN).putLong(much.length());
        much.chars().forEach(c -> bytes.putInt(c + 3));
        assertThat(TokenDataset.of(new ByteTokenizer(), List.of(text("a", much))).digest())
                .isEqualTo(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.array())));
    }

    @Example
    void theDigestOfManyTextsIsThatOfTheSameBytesInOnePiece() throws Exception {
        SplittableRandom random = new SplittableRandom(1);
        List<Document> documents = IntStream.range(0, 9_000)
                .mapToObj(i -> text("d" + i, "x".repeat(random.nextInt(1, 4)))).toList();
        int length = documents.stream().mapToInt(document -> 8 + 4 * document.bytes().length).sum();
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        for (Document document : documents) {
            bytes.putLong(document.bytes().length);
            for (int i = 0; i < document.bytes().length; i++) {
                bytes.putInt(3 + 'x');
            }
        }
        assertThat(TokenDataset.of(new ByteTokenizer(), documents).digest())
                .isEqualTo(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.array())));
    }

    @Property(tries = 60)
    void aSplitIsAPartitionInOrder(@ForAll long seed, @ForAll @IntRange(min = 2, max = 40) int count,
            @ForAll @DoubleRange(min = 0.01, max = 0.99) double fraction) {
        TokenDataset data = TokenDataset.of(new WideTokenizer(), WideTokenizer.documents(seed, count, 9));
        TokenDataset.Split split = data.split(fraction, seed);
        assertThat((long) split.heldOut().documents())
                .isEqualTo(Math.clamp(Math.round(fraction * count), 1, count - 1));
        List<String> both = new ArrayList<>(ids(split.train()));
        both.addAll(ids(split.heldOut()));
        assertThat(both).containsExactlyInAnyOrderElementsOf(ids(data));
        assertThat(ids(data)).containsSubsequence(ids(split.train())).containsSubsequence(ids(split.heldOut()));
        assertThat(split.train().tokens() + split.heldOut().tokens()).isEqualTo(data.tokens());
        assertThat(split.train().bytes() + split.heldOut().bytes()).isEqualTo(data.bytes());
        assertThat(data.split(fraction, seed).heldOut().digest()).isEqualTo(split.heldOut().digest());
    }

    @Example
    void theSplitGoesByIdNotByOrderAndByTheSeed() {
        List<Document> documents = IntStream.range(0, 40).mapToObj(i -> text("d" + i, "text " + i)).toList();
        TokenDataset forwards = TokenDataset.of(new ByteTokenizer(), documents);
        TokenDataset backwards = TokenDataset.of(new ByteTokenizer(), documents.reversed());
        assertThat(ids(backwards.split(0.2, 1).heldOut()))
                .containsExactlyInAnyOrderElementsOf(ids(forwards.split(0.2, 1).heldOut()));
        assertThat(ids(forwards.split(0.2, 2).heldOut())).isNotEqualTo(ids(forwards.split(0.2, 1).heldOut()));
    }

    @Example
    void theSplitStaysWhatItWas() {
        List<Document> documents = IntStream.range(0, 20).mapToObj(i -> text("d" + i, "text " + i)).toList();
        assertThat(ids(TokenDataset.of(new ByteTokenizer(), documents).split(0.2, 0).heldOut()))
                .as("a change would move held-out texts into the training side of runs that are resumed")
                .containsExactly("d1", "d7", "d15", "d18");
    }

    @Example
    void atMostSoManyTokensAreHeldOutAndTheRestIsTrainedOn() {
        List<Document> documents = IntStream.range(0, 40)
                .mapToObj(i -> new Document("d" + i, "0123456789".getBytes(StandardCharsets.UTF_8))).toList();
        TokenDataset data = TokenDataset.of(new ByteTokenizer(), documents);
        TokenDataset.Split limited = data.split(0.5, 59, 3);
        assertThat(limited.heldOut().tokens()).isEqualTo(50);
        assertThat(limited.train().tokens()).isEqualTo(350);
        assertThat(ids(data.split(0.5, 3).heldOut())).containsAll(ids(limited.heldOut()));
        assertThat(data.split(0.5, 1, 3).heldOut().documents()).isEqualTo(1);
        TokenDataset one = TokenDataset.of(new ByteTokenizer(), documents.subList(0, 1));
        assertThat(one.split(0.5, 2, 0).heldOut().tokens()).isEqualTo(2);
        assertThat(one.split(0.5, 2, 0).train().tokens()).isEqualTo(8);
        assertThatThrownBy(() -> data.split(0.5, 0, 3)).isInstanceOf(IllegalArgumentException.class);
    }

    @Example
    void aSingleDocumentIsCutNearItsEnd() {
        TokenDataset data = TokenDataset.of(new ByteTokenizer(), List.of(text("only", "0123456789")));
        TokenDataset.Split split = data.split(0.3, 0);
        assertThat(split.train().digest())
                .isEqualTo(TokenDataset.of(new ByteTokenizer(), List.of(text("x", "0123456"))).digest());
        assertThat(split.heldOut().digest())
                .isEqualTo(TokenDataset.of(new ByteTokenizer(), List.of(text("x", "789"))).digest());
    }

    @Example
    void whatCannotBeSplitIsRefused() {
        TokenDataset one = TokenDataset.of(new ByteTokenizer(), List.of(text("tiny.txt", "x")));
        assertThatThrownBy(() -> one.split(0.5, 0)).isInstanceOf(InputException.class).hasMessageContaining("tiny.txt");
        assertThatThrownBy(() -> one.split(1, 0)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> one.split(Double.NaN, 0)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> TokenDataset.of(new ByteTokenizer(), List.of())).isInstanceOf(InputException.class);
    }

    @Example
    void theStoreHoldsMoreThanOneChunkInEitherWidth() {
        for (int vocabulary : new int[] {65_536, 65_537}) {
            TokenStore store = new TokenStore(vocabulary);
            int count = (1 << 20) + 3;
            for (int i = 0; i < count; i++) {
                store.add(vocabulary - 1 - i % 1000);
            }
            assertThat(store.size()).isEqualTo(count);
            for (int i = 0; i < count; i++) {
                if (store.get(i) != vocabulary - 1 - i % 1000) {
                    throw new AssertionError("token %d of vocabulary %d is %d".formatted(i, vocabulary, store.get(i)));
                }
            }
        }
    }

    private static Document text(String id, String text) {
        return new Document(id, text.getBytes(StandardCharsets.UTF_8));
    }

    private static List<String> ids(TokenDataset data) {
        return IntStream.range(0, data.documents()).mapToObj(data::id).toList();
    }
}
