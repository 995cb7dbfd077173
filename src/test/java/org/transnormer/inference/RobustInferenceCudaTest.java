package org.transnormer.inference;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.transnormer.backend.BackendKind;

/** The same promises on a GPU, where a decoding step is replayed from a recording. */
@Tag("gpu")
class RobustInferenceCudaTest extends RobustInferenceTest {
    @Override
    List<BackendKind> kinds() {
        return List.of(BackendKind.CUDA);
    }
}
