package org.transnormer.train;

import java.util.ArrayList;
import java.util.List;
import org.transnormer.adamw.AdamW;
import org.transnormer.adamw.AdamW.Scalar;
import org.transnormer.backend.Backend;
import org.transnormer.model.DataParallel;
import org.transnormer.model.ParameterGroup;
import org.transnormer.model.Weights;
import org.transnormer.parallel.Communicator;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/**
 * AdamW with global-norm clipping over all parameter groups of a model. SPEC section 3.9. Master weights are the model's
 * own where those are as wide, and a copy in the accumulation type where they are rounded.
 */
public final class Optimizer {

    /**
     * The optimizer's tensors of one group, all of the size of this rank's share of it.
     *
     * @param master the group's own values where they are not rounded
     * @param m first moment
     * @param v second moment
     */
    public record State(ParameterGroup group, Tensor master, Tensor m, Tensor v) {
    }

    private final Backend backend;
    private final Communicator communicator;
    private final DataParallel data;
    private final AdamW.Constants constants;
    private final double clipNorm;
    private final List<State> states = new ArrayList<>();
    private final List<Tensor> counted = new ArrayList<>();
    private final Tensor scalars;
    private final Tensor clip;
    private final Tensor total;
    private final Tensor norm;

    /**
     * @param communicator the ranks that each layer is split over
     * @param clipNorm limit of the gradients' global norm; 0: none
     */
    public Optimizer(Backend backend, Communicator communicator, Weights weights, AdamW.Constants constants,
            double clipNorm) {
        this.backend = backend;
        this.communicator = communicator;
        this.data = weights.dataParallel();
        this.constants = constants;
        this.clipNorm = clipNorm;
        Memory memory = backend.memory();
        for (ParameterGroup group : weights.groups()) {
            DType dtype = group.gradientType();
            long size = group.share().size();
            Tensor master = group.dtype() == dtype ? group.valueShare()
                    : memory.allocate(MemoryKind.OPTIMIZER, "master." + group.name(), dtype, size);
            states.add(new State(group, master,
                    memory.allocate(MemoryKind.OPTIMIZER, "m." + group.name(), dtype, size),
                    memory.allocate(MemoryKind.OPTIMIZER, "v." + group.name(), dtype, size)));
        }
        for (ParameterGroup group : weights.groups()) {
            counted.addAll(counted(group, communicator.rank()));
        }
        scalars = memory.allocate(MemoryKind.DATA, "optimizer.scalars", DType.F64, Scalar.values().length);
        clip = scalars.slice(0, Scalar.CLIP.ordinal(), Scalar.CLIP.ordinal() + 1);
        total = memory.allocate(MemoryKind.DATA, "gradient.total", DType.F64, 1);
        norm = memory.allocate(MemoryKind.DATA, "gradient.norm", DType.F64, 1);
    }

    /** Of its share, the gradients that a rank counts in the norm: its own, and on rank 0 what every rank has the same of. */
    private static List<Tensor> counted(ParameterGroup group, int rank) {
        if (rank == 0) {
            return List.of(group.gradientShare());
        }
        return group.parameters().stream().filter(p -> !p.shard().isReplicated())
                .map(p -> p.span().and(group.share())).filter(span -> !span.isEmpty())
                .map(span -> span.from(group.share().from()).of(group.gradientShare())).toList();
    }

    /** In the order of the forward. */
    public List<State> states() {
        return List.copyOf(states);
    }

    /** Starts from the model's present weights: copies them where the optimizer has its own. */
    public void adoptWeights() {
        for (State s : states) {
            if (s.master() != s.group().valueShare()) {
                backend.copy(s.group().valueShare(), s.master());
            }
        }
    }

    /**
     * One update from the gradients there are: each rank that reads other data updates its share, and all get all.
     *
     * @param step number of the update, from 1: the exponent of the bias corrections
     * @param learningRate of this update
     */
    public void step(long step, double learningRate) {
        backend.zero(total);
        for (Tensor gradient : counted) {
            backend.gradientNorm().partial(gradient, total);
        }
        addOverRanks();
        scalars.set(Scalar.LEARNING_RATE.ordinal(), learningRate);
        scalars.set(Scalar.CORRECTION1.ordinal(), 1 - StrictMath.pow(constants.beta1(), step));
        scalars.set(Scalar.CORRECTION2.ordinal(), 1 - StrictMath.pow(constants.beta2(), step));
        scalars.upload();
        backend.gradientNorm().apply(total, clipNorm, norm, clip);
        for (State s : states) {
            backend.adamW().step(s.master(), s.group().valueShare(), s.group().gradientShare(), s.m(), s.v(),
                    constants, s.group().decays(), scalars);
            data.publish(s.group());
        }
        data.await();
    }

    /** Groups of ranks may add in different orders: all take one's sum, lest copies of a weight drift apart. */
    private void addOverRanks() {
        communicator.allReduceSum(total);
        if (data.isSharded()) {
            data.communicator().allReduceSum(total);
            communicator.broadcast(total, 0);
        } else {
            data.communicator().broadcast(total, 0);
        }
    }

    /** Global norm of the gradients of the last step, before clipping. */
    public double gradientNorm() {
        norm.download();
        return norm.get(0);
    }
}
