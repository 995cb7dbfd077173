/** What the parts cost on this machine, beside peers measured in the same run. */
package org.transnormer.bench;
