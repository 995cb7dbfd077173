package org.transnormer.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Tensor;

/** What may be recorded of two streams, by the driver: collectives beside a step that is recorded keep to it. */
@Tag("gpu")
class CaptureTest {
    private Gpu gpu;
    private Stream stream;
    private Stream side;
    private Event event;
    private Event back;

    @BeforeEach
    void open() {
        gpu = Gpu.open();
        stream = gpu.stream();
        side = Stream.of(gpu.context());
        event = Event.of(gpu.context());
        back = Event.of(gpu.context());
    }

    @AfterEach
    void close() {
        gpu.close();
    }

    /** A second stream takes part once it waits for the first, and until that one waits for it. */
    @Test
    void twoStreamsAreRecordedTogether() {
        try (DeviceMemory memory = new DeviceMemory(stream, new MemoryPlan())) {
            Tensor x = memory.allocate(MemoryKind.DATA, "x", DType.I32, 2);
            Tensor y = memory.allocate(MemoryKind.DATA, "y", DType.I32, 2);
            DevicePtr from = DevicePtr.of(x).slice(0, 8);
            DevicePtr to = DevicePtr.of(y).slice(0, 8);
            Graph graph = stream.capture(() -> {
                assertThat(stream.isCapturing()).isTrue();
                stream.fill(from.slice(0, 4), (byte) 1);
                stream.record(event);
                side.await(event);
                side.copy(from, to);
                side.record(back);
                stream.await(back);
                stream.fill(from.slice(4, 4), (byte) 2);
            });
            assertThat(stream.isCapturing()).isFalse();
            stream.synchronize();
            y.download();
            assertThat(y.getInt(0)).isZero();
            graph.launch(stream);
            graph.launch(stream);
            stream.synchronize();
            y.download();
            assertThat(y.getInt(0)).isEqualTo(0x01010101);
            assertThat(y.getInt(1)).isEqualTo(0x02020202);
        }
    }

    @Test
    void aRecordingAwaitsNothingFromOutside() {
        side.record(event);
        assertThatThrownBy(() -> stream.capture(() -> stream.await(event))).isInstanceOf(CudaException.class)
                .hasMessageContaining("cuStreamWaitEvent: CUDA_ERROR_STREAM_CAPTURE_ISOLATION (905)");
        stream.synchronize();
        stream.capture(() -> stream.record(event)).close();
    }

    /** Nor does anything outside await what was only recorded. */
    @Test
    void nothingAwaitsWhatWasRecorded() {
        stream.capture(() -> stream.record(event)).close();
        assertThatThrownBy(() -> side.await(event)).isInstanceOf(CudaException.class)
                .hasMessageContaining("cuStreamWaitEvent: CUDA_ERROR_");
    }

    @Test
    void aStreamThatIsNotAwaitedSpoilsARecording() {
        try (DeviceMemory memory = new DeviceMemory(stream, new MemoryPlan())) {
            DevicePtr x = DevicePtr.of(memory.allocate(MemoryKind.DATA, "x", DType.I32, 2));
            assertThatThrownBy(() -> stream.capture(() -> {
                stream.record(event);
                side.await(event);
                side.fill(x, (byte) 1);
            })).isInstanceOf(CudaException.class)
                    .hasMessageContaining("cuStreamEndCapture: CUDA_ERROR_STREAM_CAPTURE_UNJOINED (904)");
        }
    }
}
