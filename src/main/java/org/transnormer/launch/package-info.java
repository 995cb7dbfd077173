/** The processes of one job: which rank each is, how they find each other, agree, and end together. SPEC section 7.4. */
package org.transnormer.launch;
