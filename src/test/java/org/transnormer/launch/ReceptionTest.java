package org.transnormer.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;

/** Who comes to rank 0, and who is let in. */
class ReceptionTest {
    private static final Secret SECRET = secret("a secret of some length");
    private static final int SIZE = 3;
    private final int port = TestJob.freePort();
    private final Reception reception = new Reception(rank(0, SIZE), SECRET, "1", timings(10_000));
    private final CompletableFuture<List<Reception.Arrived>> all = new CompletableFuture<>();

    @BeforeEach
    void open() {
        await(reception);
    }

    private void await(Reception where) {
        Thread.ofPlatform().daemon().start(() -> {
            try {
                all.complete(where.await(() -> {}));
            } catch (InterruptedException | RuntimeException e) {
                all.completeExceptionally(e);
            }
        });
    }

    @AfterEach
    void close() {
        reception.close();
    }

    @Test
    void allWhoBelongAreLetIn() throws Exception {
        comes(2, SIZE, SECRET, "1");
        comes(1, SIZE, SECRET, "1");
        assertThat(all.get(10, TimeUnit.SECONDS)).extracting(arrived -> arrived.peer().rank()).containsExactly(0, 1, 2);
    }

    @Test
    void whoDoesNotKnowTheSecretIsSentAwayAndTheOthersWait() throws Exception {
        assertThatThrownBy(() -> comes(1, SIZE, secret("a secret of some lengti"), "1"))
                .isInstanceOf(JobException.class).hasMessageContaining("rank 1 cannot join at 127.0.0.1:" + port)
                .hasMessageContaining("another secret");
        assertThat(all).isNotDone();
        allWhoBelongAreLetIn();
    }

    @Test
    void whoIsMissingIsNamedAndWhatCameInstead() {
        reception.close();
        Rank where = new Rank(0, 6, 0, 0, "127.0.0.1", TestJob.freePort(), Rank.Starter.SLURM);
        try (Reception other = new Reception(where, SECRET, "1", timings(800))) {
            await(other);
            for (int r : new int[] {1, 4}) {
                Approach.connect(new Rank(r, 6, 0, 0, "127.0.0.1", where.port(), Rank.Starter.SLURM), SECRET, "1",
                        timings(800), () -> {});
            }
            assertThatThrownBy(() -> Approach.connect(new Rank(2, 6, 0, 0, "127.0.0.1", where.port(),
                    Rank.Starter.SLURM), secret("no secret of any length"), "1", timings(800), () -> {}))
                    .isInstanceOf(JobException.class);
            fails(3, "ranks 2, 3, 5 of 6 did not come to 127.0.0.1:" + where.port() + " within", "by srun",
                    "refused was 127.0.0.1's: it does not know the secret");
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void whoCountsOtherRanksIsNamed() throws Exception {
        Connection told = comes(1, 4, SECRET, "1");
        assertThat(told.read(5_000, null).type()).isEqualTo(Frame.Type.END);
        fails(2, "rank 1 (pid ", "says that there are 4 ranks, rank 0 that there are 3");
    }

    @Test
    void whoIsOfAnotherVersionIsNamed() throws Exception {
        comes(1, SIZE, SECRET, "0.9");
        fails(2, "rank 1 (pid ", "is version 0.9, rank 0 is 1");
    }

    @Test
    void twoOfOneNumberAreNamed() throws Exception {
        comes(1, SIZE, SECRET, "1");
        comes(1, SIZE, SECRET, "1");
        fails(2, "says it is rank 1, and so does pid " + ProcessHandle.current().pid());
    }

    /** A pod that is started again comes again. */
    @Test
    void whoHasHungUpMayComeAgain() throws Exception {
        comes(1, SIZE, SECRET, "1").close();
        comes(1, SIZE, SECRET, "1").close();
        comes(2, SIZE, SECRET, "1");
        Thread.sleep(300);
        assertThat(all).isNotDone();
        comes(1, SIZE, SECRET, "1");
        assertThat(all.get(10, TimeUnit.SECONDS)).hasSize(SIZE);
    }

    @Test
    void rankZeroIsTakenByWhoIsThere() throws Exception {
        comes(0, SIZE, SECRET, "1");
        fails(2, "says it is rank 0, and so does pid");
    }

    @Test
    void aPortThatIsTakenIsNamed() {
        assertThatThrownBy(() -> new Reception(rank(0, SIZE), SECRET, "1", timings(100)).close())
                .isInstanceOf(EnvironmentException.class)
                .hasMessageContaining("rank 0 cannot listen at 127.0.0.1:" + port).hasMessageContaining("MASTER_PORT");
    }

    @Test
    void withoutRankZeroItsAddressIsNamed() throws Exception {
        reception.close();
        listening().close();
        assertThatThrownBy(() -> Approach.connect(rank(1, SIZE), SECRET, "1", timings(200), () -> {}))
                .isInstanceOf(EnvironmentException.class)
                .hasMessageContaining("rank 1 could not reach rank 0 at 127.0.0.1:" + port);
    }

    /** Nothing that comes from strangers ends the waiting, or takes memory; those who belong still come in. */
    @Test
    void garbageIsIgnored() throws Exception {
        Random random = new Random(5);
        for (int i = 0; i < 200; i++) {
            try (Socket socket = connected()) {
                byte[] garbage = new byte[random.nextInt(200)];
                random.nextBytes(garbage);
                if (i % 3 == 0) {
                    socket.getOutputStream().write(Handshake.MAGIC);
                }
                socket.getOutputStream().write(garbage);
            } catch (IOException e) {
                // Hung up on, as it should be.
            }
        }
        try (Socket knows = connected(); Socket sleeps = connected()) {
            new Handshake(knows, SECRET, 5_000_000_000L).asOther();
            knows.getOutputStream().write(new byte[] {0, 0x7f, -1, -1, -1});
            assertThat(knows.getInputStream().read()).as("a message of 2 GiB is hung up on").isEqualTo(-1);
            assertThat(all).isNotDone();
            allWhoBelongAreLetIn();
            assertThat(sleeps.isConnected()).isTrue();
        }
    }

    /** However slowly the bytes come. */
    @Test
    void whoSpeaksTooSlowlyIsSentAway() throws Exception {
        try (Socket slow = connected()) {
            slow.setSoTimeout(150);
            long start = System.nanoTime();
            int got = 0;
            for (int i = 0; i < 60 && got == 0; i++) {
                try {
                    slow.getOutputStream().write(Handshake.MAGIC[i % Handshake.MAGIC.length]);
                    got = slow.getInputStream().read();
                } catch (java.net.SocketTimeoutException e) {
                    // Still listened to.
                } catch (IOException e) {
                    got = -1;
                }
            }
            assertThat(got).isEqualTo(-1);
            assertThat(System.nanoTime() - start).isLessThan(4_000_000_000L);
        }
        allWhoBelongAreLetIn();
    }

    @Test
    void manyWhoSayNothingAreSentAwayInTime() throws Exception {
        Socket[] silent = new Socket[100];
        for (int i = 0; i < silent.length; i++) {
            silent[i] = connected();
        }
        allWhoBelongAreLetIn();
        for (Socket socket : silent) {
            assertThat(socket.getInputStream().read()).isEqualTo(-1);
            socket.close();
        }
    }

    /** Rank 0 has other random bytes each time, so that what was heard is of no use; nor is its own proof. */
    @Test
    void aProofCannotBeUsedAgain() throws Exception {
        byte[] nonce = new byte[Secret.NONCE];
        byte[] heard;
        try (Socket first = connected()) {
            byte[] hub = greet(first, nonce);
            assertThat(hub).isNotEqualTo(nonce);
            heard = SECRET.proof(Secret.Role.OTHER, hub, nonce);
            first.getOutputStream().write(heard);
            assertThat(first.getInputStream().read()).isEqualTo(1);
        }
        try (Socket again = connected()) {
            greet(again, nonce);
            again.getOutputStream().write(heard);
            assertThat(again.getInputStream().read()).isEqualTo(0);
        }
        try (Socket other = connected()) {
            other.getOutputStream().write(SECRET.proof(Secret.Role.HUB, greet(other, nonce), nonce));
            assertThat(other.getInputStream().read()).isEqualTo(0);
        }
    }

    @Test
    void whoOnlyPretendsToBeRankZeroIsNotBelieved() throws Exception {
        reception.close();
        try (ServerSocket server = listening()) {
            Thread.ofPlatform().daemon().start(() -> {
                try (Socket socket = server.accept()) {
                    socket.getInputStream().readNBytes(Handshake.MAGIC.length + Secret.NONCE);
                    socket.getOutputStream().write(Handshake.MAGIC);
                    socket.getOutputStream().write(new byte[Secret.NONCE]);
                    byte[] proof = socket.getInputStream().readNBytes(Secret.PROOF);
                    socket.getOutputStream().write(1);
                    socket.getOutputStream().write(proof);
                    socket.getInputStream().read();
                } catch (IOException e) {
                    // The other end has said what it thinks of it.
                }
            });
            assertThatThrownBy(() -> comes(1, SIZE, SECRET, "1")).isInstanceOf(JobException.class)
                    .hasMessageContaining("another secret");
        }
    }

    @Test
    void anotherProgramAtThePortIsNamed() throws Exception {
        reception.close();
        try (ServerSocket server = listening()) {
            Thread.ofPlatform().daemon().start(() -> {
                try (Socket socket = server.accept()) {
                    socket.getOutputStream().write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".getBytes());
                } catch (IOException e) {
                    // The other end has said what it thinks of it.
                }
            });
            assertThatThrownBy(() -> comes(1, SIZE, SECRET, "1")).isInstanceOf(JobException.class)
                    .hasMessageContaining("does not speak as a rank").hasMessageContaining("MASTER_PORT");
        }
    }

    @Test
    void aSecretIsNeededWhereOthersCanConnect() {
        Rank far = new Rank(1, 2, 0, 0, "192.0.2.1", 1, Rank.Starter.TORCHRUN);
        assertThatThrownBy(() -> Secret.of(Map.of(), far)).isInstanceOf(InputException.class)
                .hasMessageContaining("TNL_SECRET: is not set, and rank 0 is at 192.0.2.1");
        assertThatThrownBy(() -> Secret.of(Map.of("TNL_SECRET", "short"), far)).isInstanceOf(InputException.class)
                .hasMessageContaining("5 characters").hasMessageNotContaining("short");
        assertThat(Secret.of(Map.of(), rank(1, 2)).isGiven()).isFalse();
        assertThat(Secret.of(Map.of("TNL_SECRET", Secret.random()), far)).hasToString("a secret");
    }

    private byte[] greet(Socket socket, byte[] nonce) throws IOException {
        socket.getOutputStream().write(Handshake.MAGIC);
        socket.getOutputStream().write(nonce);
        byte[] greeting = socket.getInputStream().readNBytes(Handshake.MAGIC.length + Secret.NONCE);
        assertThat(greeting).startsWith(Handshake.MAGIC);
        return Arrays.copyOfRange(greeting, Handshake.MAGIC.length, greeting.length);
    }

    private Connection comes(int rank, int size, Secret secret, String version) throws InterruptedException {
        return Approach.connect(rank(rank, size), secret, version, timings(5_000), () -> {});
    }

    private void fails(int status, String... parts) {
        assertThatThrownBy(() -> all.get(10, TimeUnit.SECONDS)).isInstanceOf(ExecutionException.class).cause()
                .isInstanceOfSatisfying(JobException.class, e -> {
                    assertThat(e.status()).isEqualTo(status);
                    assertThat(e).hasMessageContainingAll(parts);
                });
    }

    private Rank rank(int rank, int size) {
        return new Rank(rank, size, 0, 0, "127.0.0.1", port, Rank.Starter.TORCHRUN);
    }

    private static Timings timings(int meeting) {
        return new Timings(Duration.ofMillis(meeting), Duration.ofSeconds(1), Duration.ofSeconds(1),
                Duration.ofSeconds(10), Duration.ofSeconds(30));
    }

    private static Secret secret(String text) {
        return Secret.of(Map.of("TNL_SECRET", text), Rank.alone());
    }

    /** The reception's door takes a moment to close. */
    private ServerSocket listening() throws InterruptedException {
        while (true) {
            try {
                return new ServerSocket(port, 5, InetAddress.getByName("127.0.0.1"));
            } catch (IOException e) {
                Thread.sleep(10);
            }
        }
    }

    private Socket connected() throws IOException {
        return new Socket(InetAddress.getByName("127.0.0.1"), port);
    }
}
