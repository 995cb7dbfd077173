package org.transnormer.parallel;

import java.util.List;
import org.transnormer.testing.Place;

/** One rank, which exchanges nothing. */
class SingleTest implements CommunicatorContract {
    @Override
    public List<Integer> sizes() {
        return List.of(1);
    }

    @Override
    public void run(int size, Body body) {
        body.run(Communicator.single(), Place.HOST);
    }
}
