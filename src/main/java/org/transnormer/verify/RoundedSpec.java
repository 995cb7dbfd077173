package org.transnormer.verify;

import java.util.IdentityHashMap;
import java.util.Map;
import org.transnormer.backend.Backend;
import org.transnormer.backend.ObservedBackend;
import org.transnormer.backend.Precision;
import org.transnormer.backend.ScalarBackend;
import org.transnormer.random.RandomStream;
import org.transnormer.srmsnorm.NormParameters;
import org.transnormer.tensor.Bf16;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;

/**
 * The spec on F64 tensors, each of which is rounded behind every call to the type that it has in a run of a narrower
 * precision: what that precision makes of a model whose every component is right. SPEC section 1.4.
 */
final class RoundedSpec implements Memory, ObservedBackend.Observer {
    /** Elements read at a time: most calls find nothing to round in most of their tensors. */
    private static final int READ = 1 << 12;

    private final HostMemory memory = new HostMemory();
    private final Map<Storage, DType> types = new IdentityHashMap<>();
    private final RandomStream random;
    private long drawn;

    private RoundedSpec(RandomStream random) {
        this.random = random;
    }

    /** Rounds to nearest, as a run of that precision does. */
    static Backend nearest(Precision precision) {
        return open(precision, null);
    }

    /** Rounds up or down at random, with the probabilities that leave the mean as it is: one more run of the kind. */
    static Backend scattered(Precision precision, RandomStream random) {
        return open(precision, random);
    }

    private static Backend open(Precision precision, RandomStream random) {
        RoundedSpec spec = new RoundedSpec(random);
        return new ObservedBackend(new ScalarBackend(precision, spec), spec);
    }

    @Override
    public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
        boolean rounded = dtype == DType.F32 || dtype == DType.BF16;
        Tensor t = memory.allocate(kind, name, rounded ? DType.F64 : dtype, shape);
        if (rounded) {
            types.put(t.storage(), dtype);
        }
        return t;
    }

    @Override
    public MemoryPlan plan() {
        return memory.plan();
    }

    @Override
    public void close() {
        memory.close();
    }

    /** What the caller put into them is rounded like everything else. */
    @Override
    public void calling(Object[] arguments) {
        called("", "", arguments, null);
    }

    /** Rounds inputs too: they are rounded already and stay as they are. */
    @Override
    public void called(String component, String method, Object[] arguments, ObservedBackend.Elapsed elapsed) {
        if (arguments == null) {
            return;
        }
        for (Object argument : arguments) {
            if (argument instanceof Tensor t) {
                round(t);
            } else if (argument instanceof NormParameters(Tensor weight, Tensor bias)) {
                calling(new Object[] {weight, bias});
            }
        }
    }

    private void round(Tensor t) {
        DType type = types.get(t.storage());
        if (type == null) {
            return;
        }
        double[] values = new double[(int) Math.min(t.size(), READ)];
        for (long first = 0; first < t.size(); first += READ) {
            int count = (int) Math.min(t.size() - first, READ);
            t.getFlat(first, values, count);
            if (areRounded(values, count, type)) {
                continue;
            }
            for (int i = 0; i < count; i++) {
                double x = values[i];
                double near = nearest(x, type);
                if (near != x) {
                    values[i] = random == null ? near : scattered(x, near, type);
                }
            }
            t.setFlat(first, values, count);
        }
    }

    private static boolean areRounded(double[] values, int count, DType type) {
        for (int i = 0; i < count; i++) {
            if (nearest(values[i], type) != values[i]) {
                return false;
            }
        }
        return true;
    }

    private double scattered(double x, double near, DType type) {
        if (!Double.isFinite(near)) {
            return near;
        }
        double step = type == DType.F32 ? Math.ulp((float) near) : Math.scalb(Math.ulp((float) near), 16);
        double other = near < x ? near + step : near - step;
        return random.uniform(drawn++) * step < Math.abs(x - near) ? other : near;
    }

    private static double nearest(double x, DType type) {
        return type == DType.F32 ? (float) x : Bf16.toFloat(Bf16.fromDouble(x));
    }
}
