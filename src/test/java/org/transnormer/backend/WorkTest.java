package org.transnormer.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.reflect.Method;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;

class WorkTest {
    private static final int TOKENS = 5;
    private static final int WIDTH = 7;
    private final Tensor ids = Tensor.allocate(Arena.ofAuto(), "ids", DType.I32, TOKENS);
    private final Tensor rows = Tensor.allocate(Arena.ofAuto(), "rows", DType.F32, TOKENS, WIDTH);
    private final Tensor table = Tensor.allocate(Arena.ofAuto(), "table", DType.BF16, 11, WIDTH);
    private final Tensor gradient = Tensor.allocate(Arena.ofAuto(), "gradient", DType.F32, 11, WIDTH);

    @Test
    void toAnnounceCallsIsNoWork() {
        List<Method> methods = Arrays.stream(Leaves.class.getRecordComponents()).map(RecordComponent::getType)
                .flatMap(type -> Stream.of(type.getMethods())).filter(method -> method.getName().equals("reserve"))
                .toList();
        assertThat(methods).hasSizeGreaterThan(4).allSatisfy(method -> assertThat(
                Work.of(method.getDeclaringClass().getSimpleName(), "reserve",
                        new Object[method.getParameterCount()]))
                .isEqualTo(Work.NONE));
    }

    @Test
    void anEmbeddingTouchesTheRowsThatAreNamed() {
        int read = 4 * TOKENS + 4 * TOKENS * WIDTH;
        assertThat(embedding("forward", ids, table, 2.0, rows)).isEqualTo(read + 2 * TOKENS * WIDTH);
        assertThat(embedding("forwardPart", ids, 3L, table, 2.0, rows)).isEqualTo(read + 2 * TOKENS * WIDTH);
        assertThat(embedding("add", ids, table, rows)).isEqualTo(read + (4 + 2) * TOKENS * WIDTH);
        assertThat(embedding("backward", ids, rows, 2.0, 0, gradient)).isEqualTo(read + 2 * 4 * TOKENS * WIDTH);
        assertThat(embedding("backwardPart", ids, 3L, rows, 2.0, 0, gradient))
                .isEqualTo(read + 2 * 4 * TOKENS * WIDTH);
    }

    private static double embedding(String method, Object... arguments) {
        Work work = Work.of("Embedding", method, arguments);
        assertThat(work.flops()).isZero();
        return work.bytes();
    }
}
