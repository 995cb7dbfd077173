package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.EdgeCasesMode;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterTry;
import net.jqwik.api.lifecycle.BeforeTry;
import org.transnormer.InputException;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

class SafetensorsRoundTripTest {
    private Path file;

    /** A tensor to write: its type, the file's, its shape, and whether it is a view with gaps. */
    record Case(DType dtype, DType fileType, List<Long> shape, boolean strided) {
        Tensor tensor(TestTensors tensors, String name) {
            long[] dims = shape.stream().mapToLong(Long::longValue).toArray();
            return strided && dims.length > 0 && !shape.contains(0L) ? tensors.strided(name, dtype, 3, dims)
                    : tensors.poisoned(name, dtype, dims);
        }
    }

    @BeforeTry
    void newFile() throws IOException {
        file = Files.createTempFile("tnl", ".safetensors");
    }

    @AfterTry
    void deleteFile() throws IOException {
        Files.deleteIfExists(file);
    }

    @Provide
    Arbitrary<List<Case>> cases() {
        Arbitrary<DType> types = Arbitraries.of(DType.F64, DType.F32, DType.BF16, DType.F16);
        Arbitrary<List<Long>> shapes = Arbitraries.of(0L, 1L, 2L, 3L, 7L, 16L).list().ofMaxSize(4);
        return Combinators.combine(types, types, shapes, Arbitraries.of(true, false)).as(Case::new).list().ofMaxSize(5);
    }

    /** What comes back is what was written, rounded once; whatever the order of adding, the bytes are the same. */
    @Property(tries = 100, edgeCases = EdgeCasesMode.NONE)
    void roundTrip(@ForAll("cases") List<Case> cases, @ForAll long seed) throws IOException {
        try (TestTensors tensors = new TestTensors(seed)) {
            List<Tensor> written = IntStream.range(0, cases.size())
                    .mapToObj(i -> tensors.fill(cases.get(i).tensor(tensors, "t" + i), Values.NORMAL)).toList();
            write(cases, written, true);
            byte[] first = Files.readAllBytes(file);
            write(cases, written, false);
            assertThat(Files.readAllBytes(file)).isEqualTo(first);
            try (Safetensors back = Safetensors.open(file)) {
                assertThat(back.names()).hasSize(cases.size());
                for (int i = 0; i < cases.size(); i++) {
                    Case c = cases.get(i);
                    String name = "t" + i;
                    assertThat(back.entry(name).begin() % c.fileType.bytes()).isZero();
                    Tensor want = tensors.copy(tensors.copy(written.get(i), c.fileType), c.dtype);
                    Tensor into = c.tensor(tensors, name);
                    back.readInto(name, into);
                    same(into, want);
                    same(back.read(name, tensors.memory(), MemoryKind.WEIGHTS, c.dtype), want);
                }
            }
        }
    }

    private void write(List<Case> cases, List<Tensor> tensors, boolean backwards) {
        SafetensorsWriter writer = new SafetensorsWriter().metadata("k", "v");
        for (int i = 0; i < cases.size(); i++) {
            int at = backwards ? cases.size() - 1 - i : i;
            writer.add(tensors.get(at), cases.get(at).fileType);
        }
        writer.write(file);
    }

    private static void same(Tensor got, Tensor want) {
        assertThat(got.shape()).isEqualTo(want.shape());
        for (long i = 0; i < got.size(); i++) {
            assertThat(got.getFlat(i)).isEqualTo(want.getFlat(i));
        }
    }

    /** A damaged file is read, or refused with a message: nothing else. */
    @Property(tries = 1000)
    void damageIsNeverMoreThanAMessage(@ForAll long seed) throws IOException {
        byte[] bytes = SafetensorsTest.bytes(SafetensorsTest.GOOD, 28);
        SplittableRandom random = new SplittableRandom(seed);
        String syntax = "{}[]\",:-0123456789eE.\\u \n\0";
        for (int i = random.nextInt(1, 4); i > 0; i--) {
            int at = random.nextInt(bytes.length - 28);
            bytes[at] = random.nextBoolean() ? (byte) syntax.charAt(random.nextInt(syntax.length()))
                    : (byte) random.nextInt(256);
        }
        Files.write(file, bytes);
        try (TestTensors tensors = new TestTensors(1); Safetensors read = Safetensors.open(file)) {
            for (Safetensors.Entry entry : read.entries()) {
                if (Elements.convertible(entry.dtype(), DType.F32)) {
                    read.read(entry.name(), tensors.memory(), MemoryKind.WEIGHTS, DType.F32);
                }
            }
        } catch (InputException e) {
            assertThat(e.getMessage()).startsWith(file + ": ").hasSizeLessThan(2000);
        }
    }
}
