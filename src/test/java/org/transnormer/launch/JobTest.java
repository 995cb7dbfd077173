package org.transnormer.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Processes that meet, and what becomes of all when something goes wrong with one. */
@EnabledOnOs(OS.LINUX)
class JobTest {
    private static final String FOREVER = "steps=100000000";
    private static final String CONSEQUENCE = "every rank ends, and the last checkpoint is whole";
    @TempDir
    Path temp;
    private TestJob job;

    @BeforeEach
    void begin() {
        job = new TestJob(temp);
    }

    @AfterEach
    void end() throws InterruptedException {
        job.end();
    }

    @Test
    void twoRanksMeetAndEnd() throws Exception {
        job.ranks(2);
        assertThat(job.statuses()).containsOnly(0);
        assertThat(job.errors()).isEmpty();
        assertThat(job.said(0)).isEqualTo("0 met\n0 together [10, 11]\n0 first 1.0 5.0\n0 stopped 5\n");
        assertThat(job.said(1)).isEqualTo("1 met\n1 together [10, 11]\n1 first 1.0 5.0\n1 stopped 5\n");
    }

    /** The last to come is rank 0; saving on rank 0 takes longer than a step of the others may. */
    @Test
    void threeRanksWaitForRankZeroAndForWhatIsAnnounced() throws Exception {
        String[] slow = {"slow=0", "for=1800", "hung=1500"};
        job.rank(2, 3, slow);
        job.rank(1, 3, slow);
        Thread.sleep(500);
        job.rank(0, 3, slow);
        assertThat(job.statuses()).containsOnly(0);
        assertThat(job.errors()).isEmpty();
        assertThat(job.said(0)).contains("2 together [10, 11, 12]", "2 first 3.0 9.0");
    }

    @Test
    void aRankWithAnotherConfigurationEndsAllAndIsNamed() throws Exception {
        job.ranks(3, "disagree=2");
        assertThat(job.statuses()).containsOnly(2);
        job.oneLine(0, "rank 2 (pid " + job.pid(2), "its configuration has 'b: 3' where rank 0 has 'b: 2'");
    }

    @Test
    void aRankThatDoesNotComeIsNamed() throws Exception {
        job.rank(1, 5);
        job.rank(3, 5);
        Thread.sleep(1000);
        job.rank(0, 5, "meeting=2500");
        assertThat(job.statuses()).containsOnly(3);
        job.oneLine(2, "ranks 2, 4 of 5 did not come to 127.0.0.1:" + job.port + " within 2 s; start every rank");
    }

    @Test
    void aKilledRankEndsAll() throws Exception {
        job.ranks(3, FOREVER);
        job.await(2, "first");
        job.signal("KILL", 1);
        assertThat(job.statuses()).containsExactly(3, 137, 3);
        job.oneLine(0, "rank 1 (pid " + job.pid(1), "it is gone; " + CONSEQUENCE);
    }

    @Test
    void whenRankZeroIsKilledRankOneSaysIt() throws Exception {
        job.ranks(3, FOREVER);
        job.await(2, "first");
        job.signal("KILL", 0);
        assertThat(job.statuses()).containsExactly(137, 3, 3);
        job.oneLine(1, "rank 0 (pid " + job.pid(0), "it is gone; " + CONSEQUENCE);
    }

    @Test
    void aStoppedRankEndsAll() throws Exception {
        job.ranks(3, "silence=1500", FOREVER);
        job.await(1, "first");
        job.signal("STOP", 2);
        assertThat(job.status(0)).isEqualTo(3);
        assertThat(job.status(1)).isEqualTo(3);
        job.oneLine(0, "rank 2 (pid " + job.pid(2), "no sign of life for 1.5 s; " + CONSEQUENCE);
        job.signal("CONT", 2);
        assertThat(job.status(2)).isEqualTo(3);
        assertThat(job.errors().lines()).hasSize(1);
    }

    @Test
    void whenRankZeroIsStoppedRankOneSaysIt() throws Exception {
        job.ranks(3, "silence=1500", FOREVER);
        job.await(1, "first");
        job.signal("STOP", 0);
        assertThat(job.status(1)).isEqualTo(3);
        assertThat(job.status(2)).isEqualTo(3);
        job.oneLine(1, "rank 0 (pid " + job.pid(0), "no sign of life for 1.5 s; " + CONSEQUENCE);
    }

    /** A laptop that is closed, a scheduler that suspends the job: no rank is to blame. */
    @Test
    void aJobThatIsStoppedAsAWholeGoesOn() throws Exception {
        job.ranks(2, "silence=1500", "steps=20", "pause=50");
        job.await(1, "first");
        job.signal("STOP", 0, 1);
        Thread.sleep(2_200);
        job.signal("CONT", 0, 1);
        assertThat(job.statuses()).containsOnly(0);
        assertThat(job.errors()).isEmpty();
    }

    @Test
    void aRankThatLivesAndDoesNotComeEndsAll() throws Exception {
        job.ranks(3, "hung=1500", "hang=1@7", FOREVER);
        assertThat(job.statuses()).containsOnly(3);
        job.oneLine(0, "rank 1 (pid " + job.pid(1), "step 7 hangs there: not done after 1.5 s, where most take",
                CONSEQUENCE);
    }

    @Test
    void rankZeroMayBeTheOneThatHangs() throws Exception {
        job.ranks(2, "hung=1500", "hang=0@2", FOREVER);
        assertThat(job.statuses()).containsOnly(3);
        job.oneLine(0, "rank 0 (pid " + job.pid(0), "step 2 hangs there: not done after 1.5 s; " + CONSEQUENCE);
    }

    @Test
    void anErrorOfOneRankEndsAllWithItsStatus() throws Exception {
        job.ranks(3, "fail=2@3", FOREVER);
        assertThat(job.statuses()).containsOnly(70);
        assertThat(job.errors().lines()).containsExactlyInAnyOrder("of my own",
                "tnl: rank 2 (pid %d on %s): broke".formatted(job.pid(2), Peer.self(2).host()));
    }

    @Test
    void anErrorOfAllIsSaidOnce() throws Exception {
        job.ranks(3, "allAtOnce=1");
        assertThat(job.statuses()).containsOnly(3);
        assertThat(job.errors().lines()).hasSize(1);
        assertThat(job.errors()).contains("everything is wrong");
    }

    @Test
    void whenOneIsToldToStopAllStopAfterTheSameStep() throws Exception {
        job.ranks(3, FOREVER, "pause=5");
        job.await(1, "first");
        job.signal("TERM", 1);
        assertThat(job.statuses()).containsOnly(143);
        assertThat(job.errors()).isEmpty();
    }

    @Test
    void whoIsToldToEndWhileStartingEndsAllWithoutAWord() throws Exception {
        job.ranks(2, "wait=1");
        job.await(1, "met");
        job.signal("TERM", 1);
        assertThat(job.statuses()).containsOnly(143);
        assertThat(job.errors()).isEmpty();
    }
}
