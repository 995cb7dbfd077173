package org.transnormer.parallel;

import java.util.ArrayDeque;
import java.util.Deque;
import org.transnormer.cuda.ArgumentType;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.Event;
import org.transnormer.cuda.Gpu;
import org.transnormer.cuda.Launch;
import org.transnormer.cuda.Stream;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

/**
 * Sums of two ranks: each sends the other the whole tensor, which is no more than it sends of a sum by slices, and adds what it
 * gets when the computation awaits the sum. So nothing but copies runs beside the computation. SPEC section 7.
 *
 * <p>What was sent waits in one of a few places until it is added. A place is sent into again when its owner has said that it is
 * free; if none is, the oldest sum is added beside the computation after all. Both ranks do the same, since they make the same
 * calls.
 */
final class SwappedSums extends CopiedSums {
    /** Two halves of a sum that is awaited and two of the next. */
    static final int PLACES = 4;
    /** Signals: parts that were sent; parts that were added, whose places are free. */
    private static final int ARRIVED = 0;
    private static final int FREED = 1;
    /** As in cuda/sums.cu: threads of a block, bytes that each adds. */
    private static final int THREADS = 256;
    private static final int THREAD_BYTES = 4 * 16;

    /** A part of a tensor that is still to be added, of a call. */
    private record Part(long call, DevicePtr x, DType dtype) {
    }

    private final Gpu gpu;
    private final int other;
    private final Launch f32;
    private final Launch bf16;
    private final Deque<Part> pending = new ArrayDeque<>();
    /** Where the computation has come to, for the stream, and the stream with additions, for the computation. */
    private final Event reached;
    private final Event finished;
    /** Whether there were additions here that the computation does not wait for yet. */
    private boolean ahead;
    /** Parts that were sent; that were added, by whom ever; that the stream knows to be added; of which the other was told. */
    private int sent;
    private int added;
    private int freed;
    private int told;

    SwappedSums(Gpu gpu, Stream stream, int rank, Sizes sizes) {
        super(stream, rank, 2, sizes, sizes.turn() / 2, PLACES);
        this.gpu = gpu;
        other = 1 - rank;
        f32 = launch(gpu, "sums_pair_f32");
        bf16 = launch(gpu, "sums_pair_bf16");
        reached = Event.of(gpu.context());
        finished = Event.of(gpu.context());
    }

    private static Launch launch(Gpu gpu, String kernel) {
        return gpu.launch("sums", kernel, ArgumentType.POINTER, ArgumentType.POINTER, ArgumentType.LONG).block(THREADS);
    }

    @Override
    void sum(Tensor x, long call) {
        DevicePtr all = bytes(x);
        seeAdditions();
        if (pending.stream().anyMatch(part -> overlap(part.x(), all))) {
            finish();
        }
        for (long from = 0; from < all.bytes(); from += room) {
            send(new Part(call, all.slice(from, Math.min(room, all.bytes() - from)), x.dtype()));
        }
        memory.await(other, ARRIVED, sent);
    }

    private static boolean overlap(DevicePtr a, DevicePtr b) {
        return a.address() < b.address() + b.bytes() && b.address() < a.address() + a.bytes();
    }

    private void send(Part part) {
        if (pending.size() == PLACES) {
            addHere();
        }
        if (freed > told) {
            told = freed;
            memory.tell(other, FREED, told);
        }
        if (sent >= PLACES) {
            memory.await(other, FREED, sent - PLACES + 1);
        }
        copy(part.x(), place(other, sent % PLACES, part.x().bytes()));
        sent++;
        memory.tell(other, ARRIVED, sent);
        pending.add(part);
    }

    /** Adds the oldest part on the stream. */
    private void addHere() {
        memory.await(other, ARRIVED, added + 1);
        add(pending.remove(), stream);
        freed = added;
        stream.record(finished);
        ahead = true;
    }

    /** What is called next is behind what the computation has added. */
    private void seeAdditions() {
        if (freed < added) {
            gpu.stream().record(reached);
            stream.await(reached);
            freed = added;
        }
    }

    private void add(Part part, Stream where) {
        DevicePtr x = part.x();
        (part.dtype() == DType.F32 ? f32 : bf16).set(0, x).set(1, place(rank, added % PLACES, x.bytes()))
                .set(2, x.bytes() / part.dtype().bytes())
                .grid(Math.ceilDiv(x.bytes(), (long) THREADS * THREAD_BYTES)).on(where);
        added++;
    }

    @Override
    void reached() {
        freed = added;
    }

    @Override
    void awaited(long call) {
        if (ahead) {
            gpu.stream().await(finished);
            ahead = false;
        }
        while (!pending.isEmpty() && pending.element().call() <= call) {
            add(pending.remove(), gpu.stream());
        }
    }

    @Override
    void finish() {
        seeAdditions();
        while (!pending.isEmpty()) {
            addHere();
        }
    }
}
