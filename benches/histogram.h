// How long threads waited, kept as counts per length so that recording costs next to nothing.
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <cstdint>

namespace bench {

class Histogram {
public:
    void add(uint64_t length)
    {
        counts_[bucket_of(length)]++;
        longest_ = length > longest_ ? length : longest_;
    }

    void add(const Histogram &other)
    {
        for (int bucket = 0; bucket < buckets; bucket++) {
            counts_[bucket] += other.counts_[bucket];
        }
        longest_ = other.longest_ > longest_ ? other.longest_ : longest_;
    }

    uint64_t longest() const { return longest_; }

    // The length that a part `share` of all lengths does not exceed.
    double quantile(double share) const
    {
        return reach(share, [](double) { return 1.0; });
    }

    // Half of all the time spent waiting was spent in waits up to this length: what a waiting thread sees.
    double weighted_median() const
    {
        return reach(0.5, [](double length) { return length; });
    }

private:
    // Sixteen buckets for each power of two: a length is known to 6 %.
    static const int fine_bits = 4;
    static const int fine = 1 << fine_bits;
    static const int buckets = (64 - fine_bits + 1) * fine;

    static int bucket_of(uint64_t length)
    {
        if (length < fine) {
            return static_cast<int>(length);
        }
        int power = 63 - __builtin_clzll(length);
        int within = static_cast<int>(length >> (power - fine_bits)) & (fine - 1);
        return (power - fine_bits + 1) * fine + within;
    }

    static double middle_of(int bucket)
    {
        if (bucket < fine) {
            return bucket;
        }
        int power = bucket / fine + fine_bits - 1;
        double step = static_cast<double>(uint64_t{1} << (power - fine_bits));
        return (fine + bucket % fine + 0.5) * step;
    }

    template <class Weight> double reach(double share, Weight weight) const
    {
        double total = 0;
        for (int bucket = 0; bucket < buckets; bucket++) {
            total += static_cast<double>(counts_[bucket]) * weight(middle_of(bucket));
        }
        double sum = 0;
        for (int bucket = 0; bucket < buckets; bucket++) {
            sum += static_cast<double>(counts_[bucket]) * weight(middle_of(bucket));
            if (sum > 0 && sum >= total * share) {
                return middle_of(bucket);
            }
        }
        return 0;
    }

    uint64_t counts_[buckets] = {};
    uint64_t longest_ = 0;
};

} // namespace bench

#endif
