package org.transnormer.golden;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import org.transnormer.checkpoint.Safetensors;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.TestTensors;
import org.transnormer.verify.Comparison;

/**
 * One file of golden-tests/, read for a twin of some element type. Its inputs are exact in any type. Closing it fails if
 * the test left a tensor of the file unused: what is stored is compared.
 */
final class ComponentCase implements AutoCloseable {
    private static final String GENERATOR = "golden-tests/generate/components.py";
    /** In units of u, of the largest result of the same row; the contracts hold each element to less. */
    private static final double F32_TOLERANCE = 24;
    private static final double F64_TOLERANCE = 5_000;

    private final TestTensors tensors = new TestTensors(0);
    private final Safetensors file;
    private final String name;
    private final DType dtype;
    private final Set<String> unused;

    ComponentCase(String component, String name, DType dtype) {
        Path path = Path.of("golden-tests", component, name + ".safetensors");
        assertThat(Files.exists(path)).as("%s is missing: run python3 %s", path, GENERATOR).isTrue();
        this.name = component + "/" + name;
        this.dtype = dtype;
        file = Safetensors.open(path);
        unused = new TreeSet<>(file.names().castToList());
        assertThat(file.metadata().get("origin")).isEqualTo("independent");
        assertThat(file.metadata().get("generator")).isEqualTo(GENERATOR);
    }

    /** A tensor of the file in the twin's type. */
    Tensor in(String tensor) {
        return in(tensor, dtype);
    }

    Tensor in(String tensor, DType as) {
        unused.remove(tensor);
        return file.read(tensor, tensors.memory(), MemoryKind.WORKSPACE, as);
    }

    double number(String tensor) {
        return in(tensor, DType.F64).get(0);
    }

    int integer(String tensor) {
        return in(tensor, DType.I32).getInt(0);
    }

    boolean contains(String tensor) {
        return file.contains(tensor);
    }

    /** A poisoned tensor of a stored one's shape, for the twin to write. */
    Tensor out(String tensor) {
        return out(tensor, dtype);
    }

    Tensor out(String tensor, DType as) {
        return tensors.poisoned(tensor, as, file.entry(tensor).shape().toArray());
    }

    Tensor poisoned(DType as, long... shape) {
        return tensors.poisoned("scratch", as, shape);
    }

    Tensor zeros(String tensor) {
        return tensors.zeros(tensor, dtype, file.entry(tensor).shape().toArray());
    }

    TestTensors tensors() {
        return tensors;
    }

    /** Compares a result with the stored one of this name. */
    void check(String tensor, Tensor got) {
        Tensor want = in(tensor, DType.F64);
        long rows = want.rank() > 1 ? want.dim(0) : 1;
        long columns = want.size() / rows;
        double[] largest = new double[(int) rows];
        for (long i = 0; i < want.size(); i++) {
            int row = (int) (i / columns);
            largest[row] = Math.max(largest[row], Math.abs(want.getFlat(i)));
        }
        double c = dtype == DType.F64 ? F64_TOLERANCE : F32_TOLERANCE;
        double u = dtype.unitRoundoff();
        Comparison.of(name + " " + tensor, got, want, i -> c * u * largest[(int) (i / columns)], 1).orThrow();
    }

    @Override
    public void close() {
        file.close();
        tensors.close();
        assertThat(unused).as("tensors of %s that nothing looked at", name).isEmpty();
    }
}
