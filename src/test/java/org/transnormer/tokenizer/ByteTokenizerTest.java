package org.transnormer.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.Size;
import org.eclipse.collections.api.list.primitive.MutableIntList;
import org.eclipse.collections.impl.factory.primitive.IntLists;

class ByteTokenizerTest {
    private final Tokenizer tokenizer = new ByteTokenizer();

    @Example
    void idsAreTheReleasedSpecialsThenTheBytes() {
        assertThat(new int[] {tokenizer.padId(), tokenizer.bosId(), tokenizer.eosId(), tokenizer.vocabularySize()})
                .containsExactly(0, 1, 2, 259);
        assertThat(tokenizer.encode("aé\u0000").toArray()).containsExactly(3 + 'a', 3 + 0xc3, 3 + 0xa9, 3);
        assertThat(tokenizer.encode("").isEmpty()).isTrue();
    }

    @Example
    void onlyBytesCountAsBytes() {
        assertThat(IntStream.range(0, 259).map(tokenizer::byteCount).sum()).isEqualTo(256);
        assertThat(tokenizer.byteCount(2)).isZero();
    }

    @Property(tries = 200)
    void textSurvivesEncodingAndDecoding(@ForAll String text) {
        String wellFormed = text.codePoints().map(c -> Character.getType(c) == Character.SURROGATE ? 0xFFFD : c)
                .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append).toString();
        assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(wellFormed);
    }

    @Property(tries = 300)
    void anyBytesDecodeAsTheWholeWould(@ForAll @Size(max = 40) byte[] bytes) {
        MutableIntList ids = IntLists.mutable.empty();
        tokenizer.encode(bytes, ids::add);
        assertThat(ids.size()).isEqualTo(bytes.length);
        assertThat(tokenizer.decode(ids)).isEqualTo(new String(bytes, StandardCharsets.UTF_8));
    }

    @Property(tries = 100)
    void piecesAreWholeCharacters(@ForAll int seed) {
        int[] codePoints = new SplittableRandom(seed).ints(20, 1, 0x110000)
                .filter(c -> Character.getType(c) != Character.SURROGATE).toArray();
        TokenDecoder decoder = tokenizer.decoder();
        StringBuilder got = new StringBuilder();
        for (int codePoint : codePoints) {
            int[] ids = tokenizer.encode(Character.toString(codePoint)).toArray();
            for (int i = 0; i < ids.length; i++) {
                String piece = decoder.add(ids[i]);
                assertThat(piece.isEmpty()).as("byte %d of %d", i + 1, ids.length).isEqualTo(i < ids.length - 1);
                got.append(piece);
            }
        }
        assertThat(decoder.finish()).isEmpty();
        assertThat(got.toString()).isEqualTo(new String(codePoints, 0, codePoints.length));
    }

    @Example
    void specialTokensHaveNoTextAndDoNotBreakACharacter() {
        TokenDecoder decoder = tokenizer.decoder();
        assertThat(decoder.add(1)).isEmpty();
        assertThat(decoder.add(3 + 0xc3)).isEmpty();
        assertThat(decoder.add(0)).isEmpty();
        assertThat(decoder.add(3 + 0xa9)).isEqualTo("é");
    }

    @Example
    void aStreamThatEndsInsideACharacterEndsWithTheReplacementCharacterAndTheDecoderIsAsNew() {
        TokenDecoder decoder = tokenizer.decoder();
        decoder.add(3 + 0xe2);
        decoder.add(3 + 0x82);
        assertThat(decoder.finish()).isEqualTo("\uFFFD");
        assertThat(decoder.add(3 + 'x')).isEqualTo("x");
        assertThat(decoder.finish()).isEmpty();
    }

    @Example
    void anIdOutsideTheVocabularyIsRefused() {
        for (int id : new int[] {-1, 259}) {
            assertThatThrownBy(() -> tokenizer.decoder().add(id)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining(Integer.toString(id));
        }
    }

    @Property(tries = 200)
    void theFirstMalformedByteIsFound(@ForAll String text, @ForAll @Size(max = 8) byte[] tail) {
        byte[] head = Utf8.bytes(text);
        byte[] bytes = Arrays.copyOf(head, head.length + tail.length);
        System.arraycopy(tail, 0, bytes, head.length, tail.length);
        int at = Utf8.firstMalformed(bytes);
        String decoded = new String(bytes, StandardCharsets.UTF_8);
        boolean wellFormed = Arrays.equals(decoded.getBytes(StandardCharsets.UTF_8), bytes);
        assertThat(at == -1).isEqualTo(wellFormed);
        assertThat(at).isLessThan(Math.max(1, bytes.length));
        assertThat(at == -1 || at >= head.length).isTrue();
    }

    @Example
    void aMalformedByteIsFoundBehindMoreTextThanOneBuffer() {
        byte[] bytes = "ä".repeat(9000).getBytes(StandardCharsets.UTF_8);
        assertThat(Utf8.firstMalformed(bytes)).isEqualTo(-1);
        bytes[17_000] = (byte) 0xff;
        assertThat(Utf8.firstMalformed(bytes)).isEqualTo(17_000);
    }
}
