package org.transnormer.parallel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import net.jqwik.api.Example;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.Place;
import org.transnormer.testing.TestTensors;

/** Ranks that exchange bytes; here between threads. */
class RelayedTest implements CommunicatorContract {
    private final AtomicInteger begun = new AtomicInteger();

    /** A queue for each sender and receiver. */
    private record Queues(int rank, int size, List<BlockingQueue<byte[]>> all) implements Exchange {
        @Override
        public void send(int to, byte[] bytes) {
            assertThat(bytes.length).isLessThanOrEqualTo(MOST);
            all.get(rank * size + to).add(bytes.clone());
        }

        @Override
        public byte[] receive(int from) {
            try {
                byte[] bytes = all.get(from * size + rank).poll(20, TimeUnit.SECONDS);
                assertThat(bytes).as("what rank %d sends to rank %d", from, rank).isNotNull();
                return bytes;
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    @Override
    public List<Integer> sizes() {
        return List.of(2, 3, 5);
    }

    @Override
    public void run(int size, Body body) {
        List<BlockingQueue<byte[]>> queues = new ArrayList<>();
        for (int i = 0; i < size * size; i++) {
            queues.add(new LinkedBlockingQueue<>());
        }
        List<CompletableFuture<Void>> ranks = new ArrayList<>();
        for (int r = 0; r < size; r++) {
            Exchange exchange = new Queues(r, size, queues);
            CompletableFuture<Void> done = new CompletableFuture<>();
            ranks.add(done);
            Thread.ofPlatform().daemon().start(() -> {
                try {
                    body.run(Relayed.of(exchange, begun::incrementAndGet), Place.HOST);
                    done.complete(null);
                } catch (Throwable t) {
                    done.completeExceptionally(t);
                }
            });
        }
        CompletableFuture.allOf(ranks.toArray(CompletableFuture[]::new)).join();
        assertThat(queues).as("bytes that nobody took").allMatch(BlockingQueue::isEmpty);
    }

    /** More than is exchanged at once. */
    @Example
    void largeTensorsGoInPieces() {
        int n = Exchange.MOST / 4 + 3;
        try (TestTensors tensors = new TestTensors(0)) {
            List<Tensor> all = List.of(tensors.zeros("a", DType.F32, n), tensors.zeros("b", DType.F32, n));
            for (int i = 0; i < n; i++) {
                all.get(0).set(i, i);
                all.get(1).set(i, 1);
            }
            run(2, (ranks, place) -> {
                Tensor x = all.get(ranks.rank());
                ranks.allReduceSum(x);
                if (ranks.rank() == 1) {
                    ranks.send(x, 0);
                } else {
                    ranks.receive(x, 1);
                }
                ranks.broadcast(x, 1);
            });
            for (int i = 0; i < n; i++) {
                assertThat(all.get(i % 2).get(i)).isEqualTo(i + 1);
            }
        }
    }

    /** Who has begun fewer than others is the one that they wait for. */
    @Example
    void everyCollectiveIsCounted() {
        run(2, (ranks, place) -> {
            ranks.allReduceSum(TestTensors.numbers(1));
            ranks.barrier();
            ranks.split(0).allReduceMax(TestTensors.numbers(1));
            ranks.skip();
        });
        assertThat(begun.get()).isEqualTo(8);
    }
}
